// The large TCP flows of a host's anycast addresses, marked once and read often.
// A socket is marked when so much is written to it that it counts (those that
// were there before by a walk over all TCP sockets), and only marked sockets
// are looked at in a pass: without a lock, and what is told of them goes to
// memory that user space has mapped. So a pass costs nothing for the sockets
// that wait. Built by `make bpf`; types hold what is used here and are matched
// to the running kernel's by name (CO-RE).
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define core __attribute__((preserve_access_index))

struct ns_common {
	unsigned int inum;
} core;

struct net {
	struct ns_common ns;
} core;

typedef struct {
	struct net *net;
} possible_net_t;

struct in6_addr {
	union {
		__u8 u6_addr8[16];
	} in6_u;
} core;

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
} core;

struct sock {
	struct sock_common __sk_common;
	unsigned long sk_max_pacing_rate;
} core;

struct minmax_sample {
	__u32 v;
} core;

struct minmax {
	struct minmax_sample s[3];
} core;

struct tcp_sock {
	__u64 bytes_acked;
	__u32 write_seq, snd_una, snd_wnd;
	__u32 srtt_us;
	__u32 snd_cwnd;
	__u32 mss_cache;
	__u32 packets_out;
	__u32 total_retrans;
	__u32 rate_delivered;
	__u32 rate_interval_us;
	struct minmax rtt_min;
	__u32 chrono_start;
	__u32 chrono_stat[3];
	__u8 chrono_type : 2;
	__u8 rate_app_limited : 1;
} core;

struct bpf_iter_meta {
	__u64 session_id;
} core;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} core;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} core;

#define AF_INET 2
#define AF_INET6 10

/* enum tcp_states: data goes to the client */
#define ESTABLISHED 1
#define FIN_WAIT1 4
#define CLOSE_WAIT 8
#define CLOSING 11
#define SENDING (1 << ESTABLISHED | 1 << FIN_WAIT1 | 1 << CLOSE_WAIT | 1 << CLOSING)

/* Set before the program is loaded. */
const volatile __u32 netns = 0; /* of the sockets: its inode number */
const volatile __u32 slots = 1; /* of flows */
const volatile __u64 least = 0; /* bytes from which on a flow counts */

struct address {
	__u64 a[2]; /* an IPv4 address as ::ffff:a.b.c.d */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct address);
	__type(value, __u8);
} vips SEC(".maps");

struct mark {
	__u64 cookie;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct mark);
} marks SEC(".maps");

/* What a pass is asked for, and what it has found. */
struct pass {
	__u64 jiffies; /* when it was made; in nanoseconds since the boot: */
	__u64 clock;
	__u32 parts, part; /* of all sockets that are marked, by their cookie */
	__u32 sockets; /* that are marked */
	__u32 flows;   /* that are large enough, more than slots perhaps */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pass);
} state SEC(".maps");

struct record {
	__u64 cookie;
	struct address vip, client;
	__u16 port, client_port; /* the client's in network byte order */
	__u8 app_limited, tcp_state, chrono_type, pad;
	__u64 acked, pace;
	__u32 rate_delivered, rate_interval; /* segments in so many us */
	__u32 rtt, min_rtt;		     /* us, the first in eighths */
	__u32 cwnd, mss, out, retrans;
	__u32 chrono[3], chrono_start; /* jiffies */
	__u32 window, pad2;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1); /* set before it is made */
	__type(key, __u32);
	__type(value, struct record);
} flows SEC(".maps");

static __always_inline void mapped(struct address *to, __u32 v4)
{
	to->a[0] = 0;
	to->a[1] = (__u64)v4 << 32 | 0xffff0000u; /* little endian: ::ffff:0:0, then the address */
}

static __always_inline void from6(struct address *to, const struct in6_addr *from)
{
	__builtin_memcpy(to, from->in6_u.u6_addr8, sizeof(*to));
}

static __always_inline void local(struct address *to, const struct sock_common *c)
{
	if (c->skc_family == AF_INET6)
		from6(to, &c->skc_v6_rcv_saddr);
	else
		mapped(to, c->skc_rcv_saddr);
}

static __always_inline void remote(struct address *to, const struct sock_common *c)
{
	if (c->skc_family == AF_INET6)
		from6(to, &c->skc_v6_daddr);
	else
		mapped(to, c->skc_daddr);
}

/* ours: is it a socket of one of the addresses, in the namespace? */
static __always_inline int ours(const struct sock_common *c)
{
	struct address a;

	if (c->skc_family != AF_INET && c->skc_family != AF_INET6)
		return 0;
	if (c->skc_net.net->ns.inum != netns)
		return 0;
	local(&a, c);
	return bpf_map_lookup_elem(&vips, &a) != 0;
}

/* mark it, if it has so much, acknowledged or not. */
static __always_inline void mark(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	struct mark m = {};

	if (!tp || tp->bytes_acked + (__u32)(tp->write_seq - tp->snd_una) < least)
		return;
	if (bpf_sk_storage_get(&marks, tp, 0, 0) || !ours(&sk->__sk_common))
		return;
	m.cookie = bpf_get_socket_cookie(tp);
	bpf_sk_storage_get(&marks, tp, &m, BPF_SK_STORAGE_GET_F_CREATE);
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(written, struct sock *sk, int ret)
{
	if (ret > 0)
		mark(sk);
	return 0;
}

SEC("iter/tcp")
int before(struct bpf_iter__tcp *ctx)
{
	struct sock_common *c = ctx->sk_common;

	if (c && 1 << c->skc_state & SENDING)
		mark((struct sock *)c);
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int read(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	struct sock *sk = ctx->sk;
	struct mark *m = ctx->value;
	struct tcp_sock *tp;
	struct record *r;
	struct pass *p;
	__u32 zero = 0, i;

	if (!sk || !m)
		return 0;
	p = bpf_map_lookup_elem(&state, &zero);
	if (!p)
		return 0;
	if (!p->sockets++) {
		p->jiffies = bpf_jiffies64();
		p->clock = bpf_ktime_get_ns();
	}
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || tp->bytes_acked < least || !(1 << sk->__sk_common.skc_state & SENDING))
		return 0;
	if (p->parts > 1 && (__u32)(m->cookie) % p->parts != p->part)
		return 0;
	i = p->flows++;
	if (i >= slots || !(r = bpf_map_lookup_elem(&flows, &i)))
		return 0;
	r->cookie = m->cookie;
	local(&r->vip, &sk->__sk_common);
	remote(&r->client, &sk->__sk_common);
	r->port = sk->__sk_common.skc_num;
	r->client_port = sk->__sk_common.skc_dport;
	r->tcp_state = sk->__sk_common.skc_state;
	r->acked = tp->bytes_acked;
	r->pace = sk->sk_max_pacing_rate;
	r->window = tp->snd_wnd;
	r->app_limited = BPF_CORE_READ_BITFIELD(tp, rate_app_limited);
	r->rate_delivered = tp->rate_delivered;
	r->rate_interval = tp->rate_interval_us;
	r->rtt = tp->srtt_us;
	r->min_rtt = tp->rtt_min.s[0].v;
	r->cwnd = tp->snd_cwnd;
	r->mss = tp->mss_cache;
	r->out = tp->packets_out;
	r->retrans = tp->total_retrans;
	r->chrono[0] = tp->chrono_stat[0];
	r->chrono[1] = tp->chrono_stat[1];
	r->chrono[2] = tp->chrono_stat[2];
	r->chrono_start = tp->chrono_start;
	r->chrono_type = BPF_CORE_READ_BITFIELD(tp, chrono_type) & 3;
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
