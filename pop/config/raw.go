package config

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/bgp"
)

// The raw structs mirror the file, key by key. Their tags are the known keys.

type rawConfig struct {
	POP      string      `mapstructure:"pop"`
	Location rawLocation `mapstructure:"location"`
	StateDir string      `mapstructure:"state-dir"`
	Log      struct {
		Level  string `mapstructure:"level"`
		Format string `mapstructure:"format"`
	} `mapstructure:"log"`
	API struct {
		Socket      string `mapstructure:"socket"`
		Group       string `mapstructure:"group"`
		GoBGPSocket string `mapstructure:"gobgp-socket"`
		GoBGPListen string `mapstructure:"gobgp-listen"`
		GoBGPChange bool   `mapstructure:"gobgp-change"`
		Listen      string `mapstructure:"listen"`
		TLS         rawTLS `mapstructure:"tls"`
	} `mapstructure:"api"`
	Web struct {
		Listen string `mapstructure:"listen"`
		Change bool   `mapstructure:"change"`
	} `mapstructure:"web"`
	Metrics struct {
		Listen string `mapstructure:"listen"`
	} `mapstructure:"metrics"`
	BGP      map[string]any `mapstructure:"bgp"`
	BFD      []rawBFD       `mapstructure:"bfd"`
	Services []rawService   `mapstructure:"services"`
	Guards   rawGuards      `mapstructure:"guards"`
	Fleet    rawFleet       `mapstructure:"fleet"`
	Core     rawCore        `mapstructure:"core"`
	Relay    rawRelay       `mapstructure:"relay"`
	Load     rawLoad        `mapstructure:"load"`
	Balance  rawBalance     `mapstructure:"balance"`
	Cost     rawBills       `mapstructure:"cost"`
	Ingress  rawIngress     `mapstructure:"ingress"`
	Cache    rawCache       `mapstructure:"cache"`
	Matrix   rawMatrix      `mapstructure:"matrix"`
	Resync   rawResync      `mapstructure:"resync"`
	DNS      rawDNS         `mapstructure:"dns"`
	Slowness rawSlowness    `mapstructure:"slowness"`
	FIB      struct {
		Install  bool   `mapstructure:"install"`
		Table    uint32 `mapstructure:"table"`
		Protocol uint8  `mapstructure:"protocol"`
		Metric   uint32 `mapstructure:"metric"`
		// Multipath is how many equally good next hops share a prefix's traffic.
		Multipath int `mapstructure:"multipath"`
		// Transit passes learned routes on: for the routers of a lab only.
		Transit bool `mapstructure:"transit"`
	} `mapstructure:"fib"`
	Journal struct {
		MaxSize size `mapstructure:"max-size"`
		Keep    int  `mapstructure:"keep"`
	} `mapstructure:"journal"`
	Stop struct {
		Deadline time.Duration `mapstructure:"deadline"`
	} `mapstructure:"stop"`

	Maintenance []rawWindow `mapstructure:"maintenance"`
}

type rawTLS struct {
	Certificate string   `mapstructure:"certificate"`
	Key         string   `mapstructure:"key"`
	ClientCA    string   `mapstructure:"client-ca"`
	Change      []string `mapstructure:"change"`
}

type rawBFD struct {
	Neighbor   netip.Addr    `mapstructure:"neighbor"`
	Transmit   time.Duration `mapstructure:"transmit"`
	Receive    time.Duration `mapstructure:"receive"`
	Multiplier int           `mapstructure:"multiplier"`
	Multihop   bool          `mapstructure:"multihop"`
}

type rawService struct {
	Name           string         `mapstructure:"name"`
	Prefixes       []netip.Prefix `mapstructure:"prefixes"`
	Cover          []netip.Prefix `mapstructure:"cover"`
	Always         bool           `mapstructure:"always"`
	VIPs           rawVIPs        `mapstructure:"vips"`
	Attributes     rawAttributes  `mapstructure:"attributes"`
	Ladder         []rawRung      `mapstructure:"ladder"`
	Degraded       string         `mapstructure:"degraded"`
	Shared         string         `mapstructure:"shared"`
	LastResort     string         `mapstructure:"last-resort"`
	Drain          rawDrain       `mapstructure:"drain"`
	HoldDown       time.Duration  `mapstructure:"hold-down"`
	Dwell          time.Duration  `mapstructure:"dwell"`
	WithdrawOnDown bool           `mapstructure:"withdraw-on-down"`
	Damping        struct {
		Penalty  float64       `mapstructure:"penalty"`
		Suppress float64       `mapstructure:"suppress"`
		Reuse    float64       `mapstructure:"reuse"`
		HalfLife time.Duration `mapstructure:"half-life"`
		Max      time.Duration `mapstructure:"max"`
	} `mapstructure:"damping"`
	MinPOPs     int     `mapstructure:"min-pops"`
	MinCapacity float64 `mapstructure:"min-capacity"`
	Combine     struct {
		Mode          string  `mapstructure:"mode"`
		Quorum        int     `mapstructure:"quorum"`
		DegradedBelow float64 `mapstructure:"degraded-below"`
		DownBelow     float64 `mapstructure:"down-below"`
	} `mapstructure:"combine"`
	Checks   []rawCheck  `mapstructure:"checks"`
	Capacity rawCapacity `mapstructure:"capacity"`
}

type rawVIPs struct {
	Addresses []netip.Addr `mapstructure:"addresses"`
	Device    string       `mapstructure:"device"`
	Keep      bool         `mapstructure:"keep"`
}

type rawAttributes struct {
	MED              *uint32              `mapstructure:"med"`
	LocalPref        *uint32              `mapstructure:"local-pref"`
	Prepend          *int                 `mapstructure:"prepend"`
	Communities      []bgp.Community      `mapstructure:"communities"`
	LargeCommunities []bgp.LargeCommunity `mapstructure:"large-communities"`
	NextHop          nextHop              `mapstructure:"next-hop"`
	Neighbors        []rawOverride        `mapstructure:"neighbors"`
}

type rawOverride struct {
	Neighbor         netip.Addr           `mapstructure:"neighbor"`
	Withhold         bool                 `mapstructure:"withhold"`
	MED              *uint32              `mapstructure:"med"`
	LocalPref        *uint32              `mapstructure:"local-pref"`
	Prepend          *int                 `mapstructure:"prepend"`
	Communities      []bgp.Community      `mapstructure:"communities"`
	LargeCommunities []bgp.LargeCommunity `mapstructure:"large-communities"`
	NextHop          nextHop              `mapstructure:"next-hop"`
}

type rawRung struct {
	Name          string `mapstructure:"name"`
	rawAttributes `mapstructure:",squash"`
}

type rawDrain struct {
	Wait            time.Duration `mapstructure:"wait"`
	Accept          string        `mapstructure:"accept"`
	IdleConnections float64       `mapstructure:"idle-connections"`
	rawAttributes   `mapstructure:",squash"`
}

type rawGuards struct {
	Blast struct {
		Slices   int           `mapstructure:"slices"`
		Share    float64       `mapstructure:"share"`
		Traffic  float64       `mapstructure:"traffic"`
		Interval time.Duration `mapstructure:"interval"`
	} `mapstructure:"blast"`
	Correlated struct {
		Share  float64       `mapstructure:"share"`
		Window time.Duration `mapstructure:"window"`
	} `mapstructure:"correlated"`
	Stale    time.Duration `mapstructure:"stale"`
	Isolated time.Duration `mapstructure:"isolated"`
	Headroom float64       `mapstructure:"headroom"`
	Drains   struct {
		POPs  int     `mapstructure:"pops"`
		Share float64 `mapstructure:"share"`
	} `mapstructure:"drains"`
}

type rawFleet struct {
	Listen     string              `mapstructure:"listen"`
	SecretFile string              `mapstructure:"secret-file"`
	Poll       time.Duration       `mapstructure:"poll"`
	Peers      []rawPeer           `mapstructure:"peers"`
	Site       *bgp.LargeCommunity `mapstructure:"site"`
	RIB        []rawRIBPeer        `mapstructure:"rib"`
}

type rawLocation struct {
	Latitude  *float64 `mapstructure:"latitude"`
	Longitude *float64 `mapstructure:"longitude"`
}

type rawPeer struct {
	POP      string      `mapstructure:"pop"`
	URL      string      `mapstructure:"url"`
	Capacity float64     `mapstructure:"capacity"`
	Location rawLocation `mapstructure:"location"`
}

type rawRIBPeer struct {
	POP      string              `mapstructure:"pop"`
	Site     *bgp.LargeCommunity `mapstructure:"site"`
	Capacity float64             `mapstructure:"capacity"`
	Location rawLocation         `mapstructure:"location"`
}

// size is a number of bytes, written as 64MiB, 10MB or a plain number.
type size int64

// nextHop is an address or "self", the zero value.
type nextHop struct{ Addr netip.Addr }
