package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/front"
	upstream "github.com/catchment/catchment/server/cache/origin"
)

// maxSites bounds a file of sites.
const maxSites = 64 << 20

// readSites reads cache.sites-file.
func readSites(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSites+1))
	if err == nil && len(text) > maxSites {
		err = fmt.Errorf("longer than %d MiB", maxSites>>20)
	}
	return text, err
}

// judgeCache looks at the files that the cache section names; each error begins
// with its key.
func judgeCache(c *config.Cache) error {
	var errs []error
	for i, x := range c.TLS.Certificates {
		if _, err := tls.LoadX509KeyPair(x.Certificate, x.Key); err != nil {
			errs = append(errs, fmt.Errorf("cache.tls.certificates[%d]: %w", i, err))
		}
	}
	if _, err := ticketKeys(c.TLS.TicketKeys); err != nil {
		errs = append(errs, fmt.Errorf("cache.tls.ticket-keys: %w", err))
	}
	if !isDirectory(c.Store.Disk) {
		errs = append(errs, fmt.Errorf("cache.store.disk: %s is there and is no directory", c.Store.Disk))
	}
	if dir := filepath.Dir(c.AccessLog.Path); c.AccessLog.Path != "" && !isDirectory(dir) {
		errs = append(errs, fmt.Errorf("cache.access-log.path: %s is there and is no directory", dir))
	}
	return errors.Join(errs...)
}

// isDirectory is false for what is something else; what is not there yet is
// made.
func isDirectory(path string) bool {
	info, err := os.Stat(path)
	return path == "" || err != nil || info.IsDir()
}

// ticketKeys reads keys of TLS session tickets, 32 bytes in base64 a line, the
// newest first; empty lines and those that begin with # do not count.
func ticketKeys(file string) ([][32]byte, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var keys [][32]byte
	for s, n := bufio.NewScanner(bytes.NewReader(text)), 1; s.Scan(); n++ {
		line := bytes.TrimSpace(s.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(string(line))
		if err != nil || len(key) != 32 {
			return nil, fmt.Errorf("%s:%d: want 32 bytes in base64, as `openssl rand -base64 32` makes them", file, n)
		}
		keys = append(keys, [32]byte(key))
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%s: no key in it", file)
	}
	return keys, nil
}

// cacheConfig is what the configuration says, in the words of the cache server.
func (d *parts) cacheConfig(cfg *config.Config) (cache.Config, error) {
	c, l := &cfg.Cache, &cfg.Cache.Limits
	out := cache.Config{Name: c.Name, Sites: c.Sites, StateDir: cfg.StateDir}
	out.Front = front.Options{
		HTTP2: c.HTTP2, H2C: c.H2C, H3: c.HTTP3, UserTimeout: l.AckTime,
		Limits: front.Limits{
			HeadBytes: l.Head, HeadFields: l.Fields, URLBytes: l.URL, ConnRequest: l.ConnRequests, Conns: l.Connections, ConnsClient: l.ClientConnections,
			Streams: l.Streams, MaxBody: l.Body, HandshakeTime: l.HandshakeTime, HeadTime: l.HeadTime, IdleTime: l.IdleTime, BodyTime: l.BodyTime,
			SendRate: l.SendRate, BodyRate: l.SendRate, Grace: l.Window,
		},
	}
	for _, a := range c.Listen {
		out.Front.Listen = append(out.Front.Listen, front.Listen{Address: a.String()})
	}
	for _, a := range c.TLS.Listen {
		out.Front.Listen = append(out.Front.Listen, front.Listen{Address: a.String(), TLS: true, H3: c.HTTP3})
	}
	for _, x := range c.TLS.Certificates {
		out.Certificates = append(out.Certificates, front.CertFile{Cert: x.Certificate, Key: x.Key})
	}
	for _, p := range c.Peers {
		out.Peers = append(out.Peers, upstream.Server{Name: p.Name, URL: p.URL, Weight: p.Weight})
	}
	var err error
	if out.TicketKeys, err = ticketKeys(c.TLS.TicketKeys); err != nil {
		return out, fmt.Errorf("cache.tls.ticket-keys: %w", err)
	}
	out.Store.Dir, out.Store.RAM, out.Store.Disk, out.Store.Objects = c.Store.Disk, c.Store.RAM, c.Store.Size, c.Store.Objects
	out.Fill.Fills, out.Fill.PerUpstream = l.Fills, l.SiteFills
	out.Limits.Requests = l.Requests
	out.Identity.Node, out.Identity.POP, out.Identity.Trusted = c.Name, string(cfg.POP), c.Trusted
	if cfg.Fleet.SecretFile != "" {
		secrets, err := fleet.ReadSecrets(cfg.Fleet.SecretFile)
		if err != nil {
			return out, err
		}
		out.Identity.Secret, out.Front.ResetSecret = secrets[0], secrets[0]
	}
	out.AccessLog.Path, out.AccessLog.MaxSize, out.AccessLog.Keep = c.AccessLog.Path, c.AccessLog.MaxSize, c.AccessLog.Keep
	return out, nil
}
