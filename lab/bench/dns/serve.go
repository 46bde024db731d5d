package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/nets"
	"github.com/catchment/catchment/server/dns"
	"github.com/catchment/catchment/server/dns/steered"
)

// serveWord makes the program a server: the server is a process of its own, so
// that its CPU time and memory are its alone.
const serveWord = "serve-as-a-subject"

const mapText = "$TTL 300\n@ SOA ns hostmaster 1 7200 3600 1209600 60\n@ NS ns\nns A 192.0.2.53\n"

// steerConfig sends each location to a POP of one address.
func steerConfig() (steer.Config, steer.State) {
	c := steer.Config{Self: "p0", Rules: []steer.Rule{{Name: strings.TrimSuffix(mapName, "."), Direct: true}}, Asked: steer.Destination{Name: "asked"}}
	var s steer.State
	for i := range pops {
		id := policy.POPID(popName(i))
		c.POPs = append(c.POPs, steer.POP{ID: id})
		c.Locations = append(c.Locations, steer.Location{Name: popName(i), Destination: popName(i)})
		c.Destinations = append(c.Destinations, steer.Destination{Name: popName(i), POPs: []steer.Weighted{{POP: id}}})
		s.POPs = append(s.POPs, steer.POPState{Health: policy.Up, Stance: policy.Announce, Caches: []steer.Cache{{Addr: popAddr(i)}}})
	}
	return c, s
}

// live reads a map and compiles the choice.
func live(path string) (*steer.Config, *steer.Live, error) {
	n, err := nets.Load(path, nil)
	if err != nil {
		return nil, nil, err
	}
	c, s := steerConfig()
	ch, err := steer.New(c, n)
	if err != nil {
		return nil, nil, err
	}
	return &c, ch.With(s, nil), nil
}

// serve runs our server until it is told to end; SIGHUP reads the map anew.
// Arguments: address, folder, file of the map.
func serve(args []string) error {
	at, dir, file := args[0], args[1], args[2]
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	c, l, err := live(file)
	if err != nil {
		return err
	}
	names, err := steered.New(c, l, nil, steered.Options{})
	if err != nil {
		return err
	}
	dynamic, err := names.Dynamic(mapZone)
	if err != nil {
		return err
	}
	s, err := dns.New(dns.Options{Listen: []dns.Listen{{Address: at}}, Rates: dns.Rates{Answers: -1, Errors: -1},
		Zones: []dns.Zone{{Name: staticZone, File: dir + "/" + staticZone + "zone"}, {Name: mapZone, File: dir + "/" + mapZone + "zone", Dynamic: dynamic}}})
	if err != nil {
		return err
	}
	if err := s.Listen(); err != nil {
		return err
	}
	l, c = nil, nil
	debug.FreeOSMemory()
	go func() {
		for range hup {
			_, l, err := live(file)
			if err == nil {
				err = names.Set(l, nil)
			}
			l = nil
			debug.FreeOSMemory()
			fmt.Println("reloaded", err)
		}
	}()
	return s.Serve(ctx)
}
