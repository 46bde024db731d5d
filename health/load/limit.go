package load

// Limit is what is configured about a bandwidth (or another amount that adds
// up over hosts): the limit of the whole cluster, that is the POP, and of one
// host; 0: not set.
type Limit struct {
	Cluster, Host float64
	Hosts         int // in the cluster; less than 1 counts as 1
}

// PerHost is the capacity of one host by the usual cluster rule: 0 (not known)
// if neither limit is set, an equal part of the cluster's if only that is, the
// host's own if only that is, else the smaller of the two.
func (l Limit) PerHost() float64 {
	part := l.Cluster / float64(max(l.Hosts, 1))
	switch {
	case l.Cluster <= 0:
		return max(l.Host, 0)
	case l.Host <= 0:
		return part
	}
	return min(part, l.Host)
}

// Total is the capacity of the cluster: its own limit, where there is none
// what all hosts can, and with both the smaller.
func (l Limit) Total() float64 {
	all := max(l.Host, 0) * float64(max(l.Hosts, 1))
	switch {
	case l.Cluster <= 0:
		return all
	case all == 0:
		return l.Cluster
	}
	return min(all, l.Cluster)
}

// Excess is how much the load is above a share of the limits, which is what
// shedding must move: above the cluster's limit over all hosts, and above the
// host's own limit on single hosts. The two are looked at separately, so that
// a host above its equal part sheds nothing as long as neither is reached.
// Negative loads count as none.
func (l Limit) Excess(loads []float64, share float64) (cluster, hosts float64) {
	total := 0.0
	for _, x := range loads {
		total += max(x, 0)
		if l.Host > 0 {
			hosts += max(x-share*l.Host, 0)
		}
	}
	if l.Cluster > 0 {
		cluster = max(total-share*l.Cluster, 0)
	}
	return cluster, hosts
}
