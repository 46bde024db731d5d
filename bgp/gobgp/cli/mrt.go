package cli

import (
	"bufio"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/osrg/gobgp/v3/pkg/packet/mrt"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// mrtOptions say which routes of a dump are sent.
type mrtOptions struct {
	best, skip4, skip6 bool
	queue              int
	nextHop            net.IP
	peerAS             uint32
	skip, count        int64 // of records, that is prefixes; count -1: all
}

func (c *client) mrtCommand() *cobra.Command {
	var o mrtOptions
	global := c.command("global", func(args []string) (err error) {
		if len(args) < 1 {
			return c.usagef("mrt inject global <filename> [<count> [<skip>]]")
		}
		o.count, o.skip = -1, 0
		if len(args) > 1 {
			if o.count, err = strconv.ParseInt(args[1], 10, 64); err != nil {
				return fmt.Errorf("invalid count value: %s", args[1])
			}
		}
		if len(args) > 2 {
			if o.skip, err = strconv.ParseInt(args[2], 10, 64); err != nil {
				return fmt.Errorf("invalid skip value: %s", args[2])
			}
		}
		return c.inject(args[0], o)
	})
	inject := c.command("inject", nil)
	inject.AddCommand(global)
	cmd := c.command("mrt", nil)
	cmd.AddCommand(inject)
	f := cmd.PersistentFlags()
	f.BoolVarP(&o.best, "only-best", "", false, "inject only best paths")
	f.BoolVarP(&o.skip4, "no-ipv4", "", false, "Do not import IPv4 routes")
	f.BoolVarP(&o.skip6, "no-ipv6", "", false, "Do not import IPv6 routes")
	f.IntVarP(&o.queue, "queue-size", "", 1<<10, "Maximum number of updates to keep queued")
	f.IPVarP(&o.nextHop, "nexthop", "", nil, "Overwrite nexthop")
	f.Uint32VarP(&o.peerAS, "peer-asn", "", 0, "Inject prefixes only from specified AS number")
	return cmd
}

// inject sends the routes of an MRT dump (RFC 6396), plain, .gz or .bz2.
func (c *client) inject(path string, o mrtOptions) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("failed to open file: %w", err)
	}
	defer file.Close()
	r, err := unpack(path, file)
	if err != nil {
		return err
	}
	if o.nextHop != nil && !o.skip4 && !o.skip6 {
		c.println("You should probably specify either --no-ipv4 or --no-ipv6 when overwriting nexthop, unless your dump contains only one type of routes")
	}
	if o.best && o.peerAS != 0 {
		c.println("--only-best has no effect when --peer-asn is specified")
	}
	if o.queue < 1 {
		return errors.New("specified queue size is smaller than 1, refusing to run with unbounded memory usage")
	}
	stream, err := c.api.AddPathStream(c.ctx)
	if err != nil {
		return fmt.Errorf("failed to add path: %w", err)
	}
	queue := make(chan []*api.Path, o.queue)
	g, ctx := errgroup.WithContext(c.ctx)
	g.Go(func() error {
		defer close(queue)
		return c.readDump(ctx, r, o, queue)
	})
	g.Go(func() error {
		for paths := range queue {
			if err := stream.Send(&api.AddPathStreamRequest{TableType: api.TableType_GLOBAL, Paths: paths}); err != nil {
				return c.sendError(stream, err)
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	// The stock client leaves without waiting for the daemon, and may lose
	// the last routes and the daemon's refusal.
	if _, err := stream.CloseAndRecv(); err != nil {
		return fmt.Errorf("failed to send: %w", err)
	}
	return nil
}

// sendError finds out why the daemon hung up.
func (c *client) sendError(stream api.GobgpApi_AddPathStreamClient, err error) error {
	if errors.Is(err, io.EOF) {
		if _, why := stream.CloseAndRecv(); why != nil {
			err = why
		}
	}
	return fmt.Errorf("failed to send: %w", err)
}

func unpack(path string, file io.Reader) (io.Reader, error) {
	switch {
	case strings.HasSuffix(path, ".gz"):
		r, err := gzip.NewReader(file)
		if err != nil {
			return nil, fmt.Errorf("failed to open gzip file: %w", err)
		}
		return bufio.NewReader(r), nil
	case strings.HasSuffix(path, ".bz2"):
		return bzip2.NewReader(file), nil
	}
	return bufio.NewReader(file), nil
}

// readDump gives the paths of each wanted prefix to queue.
func (c *client) readDump(ctx context.Context, r io.Reader, o mrtOptions, queue chan<- []*api.Path) error {
	var peers []*mrt.Peer
	for n := int64(0); ; {
		msg, err := readRecord(r)
		var bad badRecord
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.As(err, &bad):
			c.printError(err) // and goes on with the next
			continue
		case err != nil:
			return err
		}
		if c.flags.debug {
			c.println(msg)
		}
		if msg.Header.Type != mrt.TABLE_DUMPv2 {
			continue
		}
		kind := mrt.MRTSubTypeTableDumpv2(msg.Header.SubType)
		switch kind {
		case mrt.PEER_INDEX_TABLE:
			peers = msg.Body.(*mrt.PeerIndexTable).Peers
			continue
		case mrt.RIB_IPV4_UNICAST, mrt.RIB_IPV4_UNICAST_ADDPATH:
			if o.skip4 {
				continue
			}
		case mrt.RIB_IPV6_UNICAST, mrt.RIB_IPV6_UNICAST_ADDPATH:
			if o.skip6 {
				continue
			}
		case mrt.GEO_PEER_TABLE:
			c.printf("WARNING: Skipping GEO_PEER_TABLE: %s\n", msg.Body.(*mrt.GeoPeerTable))
			continue
		default:
			return fmt.Errorf("unsupported subType: %v", kind)
		}
		if peers == nil {
			return errors.New("not found PEER_INDEX_TABLE")
		}
		paths, err := o.paths(msg.Body.(*mrt.Rib), kind, peers)
		if err != nil {
			return err
		}
		if n >= o.skip {
			select {
			case queue <- paths:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if n++; n == o.count+o.skip { // a count of 0 is never reached: all
			return nil
		}
	}
}

// badRecord is a record that has been read and means nothing.
type badRecord struct{ error }

func readRecord(r io.Reader) (*mrt.MRTMessage, error) {
	buf := make([]byte, mrt.MRT_COMMON_HEADER_LEN)
	if _, err := io.ReadFull(r, buf); err == io.EOF {
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("failed to read: %s", err)
	}
	h := &mrt.MRTHeader{}
	if err := h.DecodeFromBytes(buf); err != nil {
		return nil, errors.New("failed to parse")
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(h.Len))) // grows with what is there, not with what is claimed
	if err != nil || len(body) < int(h.Len) {
		return nil, errors.New("failed to read")
	}
	return parseRecord(h, body)
}

// parseRecord also catches GoBGP's parser where it reads beyond the end.
func parseRecord(h *mrt.MRTHeader, body []byte) (msg *mrt.MRTMessage, err error) {
	defer func() {
		if v := recover(); v != nil {
			msg, err = nil, badRecord{fmt.Errorf("failed to parse: %v", v)}
		}
	}()
	if msg, err = mrt.ParseMRTBody(h, body); err != nil {
		return nil, badRecord{fmt.Errorf("failed to parse: %w", err)}
	}
	return msg, nil
}

// paths are those of one prefix, by the neighbors that are wanted.
func (o *mrtOptions) paths(rib *mrt.Rib, kind mrt.MRTSubTypeTableDumpv2, peers []*mrt.Peer) ([]*api.Path, error) {
	v4 := kind == mrt.RIB_IPV4_UNICAST || kind == mrt.RIB_IPV4_UNICAST_ADDPATH
	paths := make([]*api.Path, 0, len(rib.Entries))
	for _, e := range rib.Entries {
		if int(e.PeerIndex) >= len(peers) {
			return nil, fmt.Errorf("invalid peer index: %d (PEER_INDEX_TABLE has only %d peers)", e.PeerIndex, len(peers))
		}
		peer := peers[e.PeerIndex]
		if o.peerAS != 0 && peer.AS != o.peerAS {
			continue
		}
		p, err := apiutil.NewPath(rib.Prefix, false, o.attributes(e.PathAttributes, rib.Prefix, v4), time.Unix(int64(e.OriginatedTime), 0))
		if err != nil {
			return nil, fmt.Errorf("failed to parse: %s: %w", rib.Prefix, err)
		}
		p.SourceAsn, p.SourceId = peer.AS, peer.BgpId.String()
		paths = append(paths, p)
		if o.best { // the first stands for it
			break
		}
	}
	return paths, nil
}

// attributes puts in the next hop that is asked for, and the prefix that a
// dump leaves out of MP_REACH_NLRI (RFC 6396, section 4.3.4).
func (o *mrtOptions) attributes(attrs []bgp.PathAttributeInterface, prefix bgp.AddrPrefixInterface, v4 bool) []bgp.PathAttributeInterface {
	out := make([]bgp.PathAttributeInterface, 0, len(attrs))
	for _, a := range attrs {
		switch reach := a.(type) {
		case *bgp.PathAttributeNextHop:
			if v4 && o.nextHop != nil {
				a = bgp.NewPathAttributeNextHop(o.nextHop.String())
			}
		case *bgp.PathAttributeMpReachNLRI:
			if v4 {
				break
			}
			nextHop := reach.Nexthop.String()
			if o.nextHop != nil {
				nextHop = o.nextHop.String()
			}
			a = bgp.NewPathAttributeMpReachNLRI(nextHop, []bgp.AddrPrefixInterface{prefix})
		}
		out = append(out, a)
	}
	return out
}
