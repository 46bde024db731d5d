package host

import (
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/lapse"
)

// filesOf are the paths of the certificate; none where nothing needs one.
func filesOf(cfg config.Core) core.Files {
	dir := filepath.Join(cfg.Dir, "identity")
	own := core.Files{
		Cert: filepath.Join(dir, "certificate.pem"), Key: filepath.Join(dir, "key.pem"),
		CA: filepath.Join(dir, "authority.pem"), CRL: filepath.Join(dir, "revoked.crl"),
	}
	switch t := cfg.TLS; {
	case t != nil:
		return core.Files{Cert: t.Certificate, Key: t.Key, CA: t.CA, CRL: t.Revoked}
	case cfg.Mode == config.CoreExternal:
		return core.Files{}
	case cfg.Mode == config.CoreEmbedded && cfg.Listen == "" && cfg.Clients.Listen == "" && cfg.Joins.Listen == "" && cfg.TokenFile == "":
		return core.Files{} // alone
	}
	return own
}

// fleet is what a join tells about the core; it is kept beside the certificate.
type fleet struct {
	First     map[string]string `json:"first,omitempty"`     // for a member: those there are, with itself
	Endpoints []string          `json:"endpoints,omitempty"` // host:port, where members answer clients
	Joins     []string          `json:"joins,omitempty"`     // host:port, where certificates are renewed
}

func (h *Host) fleetFile() string { return filepath.Join(h.cfg.Dir, "identity", "fleet.json") }

func (h *Host) known() (fleet, error) {
	var f fleet
	b, err := os.ReadFile(h.fleetFile())
	if err != nil {
		return f, err
	}
	return f, json.Unmarshal(b, &f)
}

// open makes the engine that the configuration asks for. It waits as long as
// it takes to have a certificate.
func (h *Host) open(ctx context.Context) (*core.Core, error) {
	var f fleet
	if h.files.Cert != "" && h.cfg.TLS == nil {
		var err error
		if f, err = h.identity(ctx); err != nil {
			return nil, err
		}
	}
	o := core.Options{Log: h.log}
	switch h.cfg.Mode {
	case config.CoreEmbedded:
		return core.NewEmbedded(h.embedded(f), o)
	case config.CoreFollow:
		return h.following(f, o)
	}
	return h.external(o)
}

func (h *Host) embedded(f fleet) core.Embedded {
	c := h.cfg
	e := core.Embedded{
		Dir: c.Dir, Name: c.Name, RTT: c.RTT, Quota: c.Quota, MinFree: c.MinFree, Retention: c.Retention, Socket: c.Socket,
	}
	if c.Clients.Listen != "" {
		e.Clients = &core.Clients{Listen: c.Clients.Listen, TLS: h.files}
	}
	if c.Listen == "" {
		return e
	}
	p := &core.Peers{Listen: c.Listen, Advertise: c.Advertise, First: map[string]string{}, TLS: h.files}
	for _, m := range c.First {
		p.First[m.Name] = m.Address
	}
	if len(f.First) > 0 {
		p.First, p.Join = f.First, true
	}
	e.Peers = p
	return e
}

func (h *Host) following(f fleet, o core.Options) (*core.Core, error) {
	if h.through != nil {
		return h.through(h.files)
	}
	t, err := h.files.Client()
	if err != nil {
		return nil, err
	}
	list := cmp.Or(strings.Join(h.cfg.Endpoints, " "), strings.Join(f.Endpoints, " "))
	if list == "" {
		return nil, errors.New("no member of the core answers clients: one needs core.clients.listen; then join again")
	}
	urls := asURLs(strings.Fields(list))
	h.endpoints.Store(&urls)
	return core.NewExternal(core.External{Endpoints: urls, TLS: t, Now: func() []string { return *h.endpoints.Load() }}, o)
}

func asURLs(addrs []string) []string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = "https://" + a
	}
	return out
}

func (h *Host) external(o core.Options) (*core.Core, error) {
	e := core.External{Endpoints: h.cfg.Endpoints, User: h.cfg.User}
	if h.cfg.PasswordFile != "" {
		b, err := os.ReadFile(h.cfg.PasswordFile)
		if err != nil {
			return nil, fmt.Errorf("core.password-file: %w", err)
		}
		e.Password = strings.TrimRight(string(b), "\r\n")
	}
	if h.cfg.TLS != nil {
		t, err := foreignTLS(*h.cfg.TLS)
		if err != nil {
			return nil, err
		}
		e.TLS = t
	}
	return core.NewExternal(e, o)
}

// identity makes sure that there is a certificate: by the authority that lives
// here, or by a join, which is tried until it succeeds.
func (h *Host) identity(ctx context.Context) (fleet, error) {
	if err := os.MkdirAll(filepath.Dir(h.files.Cert), 0o700); err != nil {
		return fleet{}, err
	}
	if h.cfg.Joins.Listen != "" {
		ca, err := core.OpenCA(filepath.Join(h.cfg.Dir, "authority"), h.pop)
		if err != nil {
			return fleet{}, err
		}
		h.authority.Store(ca)
		if left, err := h.lifeLeft(); err == nil && left > core.DefaultLife/3 {
			return fleet{}, nil
		}
		return fleet{}, h.certify(ca)
	}
	for pause := time.Second; ; pause = min(2*pause, 30*time.Second) {
		f, err := h.known()
		if err == nil {
			_, err = h.lifeLeft()
		}
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			h.log.Error("what the join brought cannot be read, joining again", "err", err)
		}
		if err = h.join(ctx); err == nil {
			h.right("join")
			continue
		}
		h.wrong("join", "joining: "+err.Error())
		h.log.Warn("not joined yet", "err", err, "again", pause)
		if !lapse.Of(ctx, pause) {
			return fleet{}, ctx.Err()
		}
	}
}

// join uses the token for a certificate.
func (h *Host) join(ctx context.Context) error {
	b, err := os.ReadFile(h.cfg.TokenFile)
	if err != nil {
		return fmt.Errorf("core.token-file: %w", err)
	}
	t, err := core.ParseToken(string(b))
	if err != nil {
		return fmt.Errorf("core.token-file: %w", err)
	}
	w, err := Join(ctx, t, h.files, h.fleetFile())
	if err != nil {
		return err
	}
	if w.Name != h.cfg.Name && w.Name != h.pop {
		os.Remove(h.files.Cert)
		return fmt.Errorf("the token is for %s, this POP is %s", w.Name, h.pop)
	}
	h.log.Info("joined", "fleet-by", t.Addr, "as", w.Name)
	return nil
}

// Join uses a token for a certificate and writes what came: certificate, key,
// authority and revocations, and what the fleet says, to fleetFile.
func Join(ctx context.Context, t core.Token, files core.Files, fleetFile string) (core.Welcome, error) {
	if err := os.MkdirAll(filepath.Dir(files.Key), 0o700); err != nil {
		return core.Welcome{}, err
	}
	key, err := keyOf(files.Key) // on disk before the token is used up with it
	if err != nil {
		return core.Welcome{}, err
	}
	w, err := core.Join(ctx, t, key)
	if err != nil {
		return core.Welcome{}, err
	}
	if len(w.Fleet) == 0 {
		w.Fleet = json.RawMessage("{}")
	}
	for _, f := range []struct {
		path string
		text []byte
	}{{files.CA, w.Bundle}, {files.CRL, w.CRL}, {fleetFile, w.Fleet}, {files.Cert, w.Certificate}} {
		if err := writeFile(f.path, f.text); err != nil {
			return core.Welcome{}, err
		}
	}
	return w, nil
}

// keyOf reads a key, or makes it where there is none.
func keyOf(path string) (crypto.Signer, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key, text, err := core.NewKey()
		if err == nil {
			err = writeFile(path, text)
		}
		return key, err
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s: a %T signs nothing", path, key)
	}
	return signer, nil
}

// certificate reads the first of a file.
func certificate(path string) (*x509.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("%s holds no certificate", path)
	}
	return x509.ParseCertificate(block.Bytes)
}

// lifeLeft is how long the certificate is still good.
func (h *Host) lifeLeft() (time.Duration, error) {
	c, err := certificate(h.files.Cert)
	if err != nil {
		return 0, err
	}
	return time.Until(c.NotAfter), nil
}

// hosts are the names and addresses that others reach this POP's part by.
func (h *Host) hosts() []string {
	var out []string
	for _, a := range []string{h.cfg.Advertise, h.cfg.Clients.Advertise, h.cfg.Joins.Advertise} {
		if host, _, err := net.SplitHostPort(a); err == nil && !slices.Contains(out, host) {
			out = append(out, host)
		}
	}
	return out
}

// writeFile writes a secret file whole or not at all.
func writeFile(path string, b []byte) error {
	part := path + ".new"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		os.Remove(part)
		return err
	}
	return os.Rename(part, path)
}
