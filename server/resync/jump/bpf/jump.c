// A congestion control for an instant: selected on a socket (TCP_CONGESTION),
// its init gives the socket the window, threshold and pacing rate that user
// space has put beside it, and then another congestion control is selected,
// which goes on from there. The process that serves needs no privilege for it:
// the map takes the hint by the socket's file descriptor, and the congestion
// control is one that anybody may select. Built by `make bpf`; types hold what
// is used here and are matched to the running kernel's by name (CO-RE).
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define core __attribute__((preserve_access_index))

struct sock {
	unsigned long sk_pacing_rate;
} core;

struct tcp_sock {
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
	__u32 snd_cwnd_cnt;
} core;

struct tcp_congestion_ops {
	char name[16];
	__u32 flags;
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	void *owner;
};

#define TCP_CONG_NON_RESTRICTED 1

struct hint {
	__u32 cwnd;     /* segments; 0: as it is */
	__u32 ssthresh; /* segments; 0: as it is */
	__u64 rate;     /* bytes a second; 0: as it is */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct hint);
} hints SEC(".maps");

extern __u32 tcp_reno_ssthresh(struct sock *sk) __ksym;
extern void tcp_reno_cong_avoid(struct sock *sk, __u32 ack, __u32 acked) __ksym;
extern __u32 tcp_reno_undo_cwnd(struct sock *sk) __ksym;

SEC("struct_ops")
void BPF_PROG(jump_init, struct sock *sk)
{
	struct tcp_sock *tp = (struct tcp_sock *)sk;
	struct hint *h = bpf_sk_storage_get(&hints, sk, 0, 0);
	if (!h)
		return;
	if (h->cwnd) {
		tp->snd_cwnd = h->cwnd;
		tp->snd_cwnd_cnt = 0;
	}
	if (h->ssthresh)
		tp->snd_ssthresh = h->ssthresh;
	if (h->rate)
		sk->sk_pacing_rate = h->rate;
	bpf_sk_storage_delete(&hints, sk); /* a hint is used once */
}

SEC("struct_ops")
__u32 BPF_PROG(jump_ssthresh, struct sock *sk)
{
	return tcp_reno_ssthresh(sk);
}

SEC("struct_ops")
void BPF_PROG(jump_cong_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	tcp_reno_cong_avoid(sk, ack, acked);
}

SEC("struct_ops")
__u32 BPF_PROG(jump_undo_cwnd, struct sock *sk)
{
	return tcp_reno_undo_cwnd(sk);
}

SEC(".struct_ops.link")
struct tcp_congestion_ops jump = {
	.name = "catchment_jump",
	.flags = TCP_CONG_NON_RESTRICTED,
	.init = (void *)jump_init,
	.ssthresh = (void *)jump_ssthresh,
	.cong_avoid = (void *)jump_cong_avoid,
	.undo_cwnd = (void *)jump_undo_cwnd,
};

char LICENSE[] SEC("license") = "Dual MIT/GPL";
