package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// TLS names the files of mutual TLS, in PEM, and who may change things.
type TLS struct {
	Certificate string   // of this daemon, with its chain
	Key         string   // of Certificate
	ClientCA    string   // signs the certificates of those who may connect
	Change      []string // names of certificates that may change things, too; "*": every one
}

// recheck is the shortest time between two looks at the files.
const recheck = time.Second

// certificates follow their files: a connection gets what is there when it is
// made. Files that cannot be used leave in force what was there before.
type certificates struct {
	opt TLS
	log *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	seen    [3]stamp // of the files, as last tried
	looked  time.Time
}

// stamp tells whether a file is another than it was. Tools that make whole
// directories anew may give all files one time, and certificates one size.
type stamp struct {
	time  time.Time
	size  int64
	inode uint64
}

// loadCertificates reads the files; they must be usable at the start.
func loadCertificates(opt TLS, log *slog.Logger) (*certificates, error) {
	c := &certificates{opt: opt, log: log}
	seen, err := c.stamps()
	if err != nil {
		return nil, err
	}
	if c.current, err = opt.load(); err != nil {
		return nil, err
	}
	c.seen, c.looked = seen, time.Now()
	return c, nil
}

// load makes the configuration of the files as they are.
func (t TLS) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", t.Certificate, t.Key, err)
	}
	text, err := os.ReadFile(t.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("client-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("client-ca: %s holds no certificate", t.ClientCA)
	}
	return &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		// A ticket would let a client in whose certificate the new files no
		// longer accept.
		SessionTicketsDisabled: true,
	}, nil
}

// Check reports whether the files can be used.
func (t TLS) Check() error {
	_, err := t.load()
	return err
}

// config is for listeners.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now(), nil },
	}
}

// now is what is in force; the files are looked at if that is a while ago.
func (c *certificates) now() *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < recheck {
		return c.current
	}
	c.looked = time.Now()
	seen, err := c.stamps()
	if err == nil && seen == c.seen {
		return c.current
	}
	var fresh *tls.Config
	if err == nil {
		fresh, err = c.opt.load()
	}
	if err != nil {
		if seen != c.seen {
			c.log.Error("the new certificates cannot be used, the former stay in force", "err", err)
		}
		c.seen = seen
		return c.current
	}
	c.log.Info("certificates reloaded", "certificate", c.opt.Certificate, "client-ca", c.opt.ClientCA)
	c.current, c.seen = fresh, seen
	return c.current
}

func (c *certificates) stamps() ([3]stamp, error) {
	var s [3]stamp
	var errs []error
	for i, path := range []string{c.opt.Certificate, c.opt.Key, c.opt.ClientCA} {
		info, err := os.Stat(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		s[i] = stamp{time: info.ModTime(), size: info.Size()}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			s[i].inode = st.Ino
		}
	}
	return s, errors.Join(errs...)
}
