package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// connectTimeout is the stock client's.
const connectTimeout = time.Second

// Keys of the call's metadata with which an operator says that a change of
// one of the daemon's own prefixes is meant, and why, and of the answer's
// header, in which the daemon says what became of it.
const (
	ForceKey = "catchment-force" // "1"
	WhyKey   = "catchment-why-bin"
	NoteKey  = "catchment-note-bin"
)

// target is the daemon to talk to.
type target struct{ network, address string }

func (t target) String() string {
	if t.network == "unix" {
		return "unix://" + t.address
	}
	return t.address
}

// errUnreachable is a daemon that did not answer in time; its text is the
// stock client's.
type errUnreachable struct{ error }

func (c *client) findTarget() target {
	f := &c.flags
	switch path, isUnix := strings.CutPrefix(f.target, "unix://"); {
	case isUnix:
		return target{"unix", path}
	case f.target != "":
		return target{"tcp", f.target}
	case !c.targetGiven() && exists(c.socket):
		return target{"unix", c.socket}
	}
	return target{"tcp", net.JoinHostPort(f.host, strconv.Itoa(f.port))}
}

// connect waits until the daemon answers.
func (c *client) connect() error {
	c.target = c.findTarget()
	creds, err := c.flags.credentials()
	if err != nil {
		return err
	}
	opts := []grpc.DialOption{grpc.WithTransportCredentials(creds)}
	if c.target.network == "unix" {
		opts = append(opts, grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", addr)
		}))
	}
	// passthrough: the system's resolver, not gRPC's.
	conn, err := grpc.NewClient("passthrough:///"+c.target.address, opts...)
	if err != nil {
		return err
	}
	c.close = func() { conn.Close() }
	ctx, cancel := context.WithTimeout(c.ctx, connectTimeout)
	defer cancel()
	for s := conn.GetState(); s != connectivity.Ready; s = conn.GetState() {
		conn.Connect()
		if !conn.WaitForStateChange(ctx, s) {
			return errUnreachable{ctx.Err()}
		}
	}
	c.api = api.NewGobgpApiClient(conn)
	if c.flags.force {
		c.ctx = metadata.AppendToOutgoingContext(c.ctx, ForceKey, "1", WhyKey, c.flags.why)
	}
	return nil
}

func (f *flags) credentials() (credentials.TransportCredentials, error) {
	if !f.tls {
		return insecure.NewCredentials(), nil
	}
	conf := new(tls.Config)
	if f.caFile != "" {
		roots, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, err
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(roots) {
			return nil, errors.New("no valid CA certificates to load")
		}
	}
	if f.certFile != "" && f.keyFile != "" {
		cert, err := readPEM(f.certFile, "CERTIFICATE", "certificate")
		if err != nil {
			return nil, fmt.Errorf("failed to load client certificate: %w", err)
		}
		key, err := readPEM(f.keyFile, "PRIVATE KEY", "private key")
		if err != nil {
			return nil, fmt.Errorf("failed to load client key: %w", err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("failed to load client key: %w", err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	return credentials.NewTLS(conf), nil
}

// readPEM reads a file that has a block of the kind.
func readPEM(path, kind, name string) ([]byte, error) {
	all, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(all); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, kind) {
			return all, nil
		}
	}
	return nil, fmt.Errorf("no %s PEM block found", name)
}

// advise says on stderr what the stock client does not: which address did not
// answer and why, what is no prefix, how to insist.
func (c *client) advise(err error) {
	var gone errUnreachable
	var bad errNoPrefix
	switch {
	case c.name == StockName:
	case errors.As(err, &bad):
		fmt.Fprintf(c.errs, "%s: %q is neither an address nor a prefix\n", c.name, string(bad))
	case errors.As(err, &gone):
		why := "does not answer"
		if conn, err := net.DialTimeout(c.target.network, c.target.address, connectTimeout/4); err == nil {
			conn.Close()
			why = "is there, and what answers speaks another protocol (--tls?)"
		} else {
			why = err.Error()
			if errors.Is(err, fs.ErrPermission) {
				why += "; be root, or in the group that owns the socket"
			}
		}
		fmt.Fprintf(c.errs, "%s: tried %s: %s\n"+
			"Start the daemon with `systemctl start catchmentd`; if its API is elsewhere (api.gobgp-socket,\n"+
			"api.gobgp-listen in its config), say so with --target unix://PATH, or -u HOST -p PORT.\n", c.name, c.target, why)
	case status.Code(err) == codes.PermissionDenied && c.flags.force:
		fmt.Fprintf(c.errs, "%s: --force is for what a service announces, one route at a time.\n", c.name)
	case status.Code(err) == codes.PermissionDenied && c.flags.forcible:
		fmt.Fprintf(c.errs, "%s: services are announced by their health and by intents: catchment drain, hold, explain;\n"+
			"--force --why TEXT makes this change an intent of yours, journaled, until catchment release.\n", c.name)
	}
}
