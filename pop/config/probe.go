package config

// Probe holds the keys of a check that belong to its type.
type Probe struct {
	Type   string `mapstructure:"type"`
	URL    string `mapstructure:"url"`
	Status []int  `mapstructure:"status"`
	Source string `mapstructure:"source"`
	Device string `mapstructure:"device"`
}

func (b *builder) probe(path string, r Probe) {
	b.oneOf(path+".type", r.Type, "http")
}
