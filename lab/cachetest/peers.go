package cachetest

import (
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// sliceOptions make nginx fetch and store large objects in pieces of 1 MiB.
const sliceOptions = `
      slice 1m;
      proxy_cache_key $scheme$host$request_uri$slice_range;
      proxy_set_header Range $slice_range;`

// nginxConfig is nginx as one would set it up for a reverse proxy that
// caches: no life of its own making for answers, coalescing on, stale answers
// only as the origin allows. tcp_nopush stays off: on loopback with its
// segments of 64 KiB it stalls each answer for 40 ms.
var nginxConfig = template.Must(template.New("nginx").Parse(`
worker_processes 1;
worker_rlimit_nofile 8192;
daemon off;
{{if .Root}}user root;{{end}}
pid {{.Dir}}/nginx.pid;
error_log stderr crit;
events { worker_connections 4096; }
http {
  access_log off;
  sendfile on; tcp_nopush off; tcp_nodelay on;
  keepalive_requests 1000000000; keepalive_timeout 60s;
  http2_max_requests 1000000000;
  client_max_body_size 16m;
  client_body_temp_path {{.Dir}}/body;
  proxy_temp_path {{.Dir}}/temp;
  fastcgi_temp_path {{.Dir}}/f; uwsgi_temp_path {{.Dir}}/u; scgi_temp_path {{.Dir}}/s;
  proxy_cache_path {{.Store}} levels=1:2 keys_zone=c:{{.Keys}}m max_size={{.Disk}} inactive=600m use_temp_path=off;
  upstream origin { server {{.Origin}} max_fails=0; keepalive 32; }
  server {
    listen {{.HTTP}}{{if .H2C}} http2{{end}};
    {{if .HTTPS}}listen {{.HTTPS}} ssl http2;
    ssl_certificate {{.Cert}}; ssl_certificate_key {{.Key}};
    ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:1m;{{end}}
    location / {
      proxy_pass http://origin;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_cache c;
      proxy_cache_revalidate on;
      proxy_cache_lock on;{{.More}}
    }
  }
}
`))

// nginx with proxy_cache. HTTP/1.1 and HTTP/2 in clear text cannot share a
// listener in the versions of Debian, so H2C has a subject of its own.
func nginx(name, more string) Subject {
	s := Subject{Name: name, TLS: true, H2C: strings.HasSuffix(name, "h2c")}
	s.start = func(ctx context.Context, set Setup, r *Running) error {
		program, err := installed("nginx")
		if err != nil {
			return err
		}
		if err := r.listeners(set); err != nil {
			return err
		}
		values := map[string]any{"Root": os.Geteuid() == 0, "Dir": set.Dir, "Store": set.StoreDir, "Disk": set.Disk,
			"Keys": max(8, set.Memory>>20/8), "Origin": set.Origin, "HTTP": r.HTTP, "HTTPS": r.HTTPS, "H2C": s.H2C, "More": more}
		if set.TLS != nil {
			values["Cert"], values["Key"] = set.TLS.CertFile, set.TLS.KeyFile
		}
		var text strings.Builder
		if err := nginxConfig.Execute(&text, values); err != nil {
			return err
		}
		conf := filepath.Join(set.Dir, "nginx.conf")
		if err := os.WriteFile(conf, []byte(text.String()), 0o644); err != nil {
			return err
		}
		return r.run(ctx, set, program, "-p", set.Dir, "-c", conf, "-e", filepath.Join(set.Dir, "error.log"))
	}
	return s
}

// varnish as Debian has it: objects in memory, no TLS.
func varnish() Subject {
	return Subject{Name: "varnish", H2C: true, start: func(ctx context.Context, set Setup, r *Running) error {
		program, err := installed("varnishd")
		if err != nil {
			return err
		}
		if err := r.listeners(set); err != nil {
			return err
		}
		return r.run(ctx, set, program, "-F", "-n", filepath.Join(set.Dir, "varnish"), "-j", "none", "-a", r.HTTP,
			"-b", set.Origin.String(), "-s", fmt.Sprintf("malloc,%d", max(set.Memory, 1<<30)), "-t", "0", "-p", "default_grace=0", "-p", "feature=+http2", "-T", "none")
	}}
}

// goProxy is net/http's reverse proxy: it stores nothing, so what it passes
// anyone passes.
func goProxy() Subject {
	return Subject{Name: "go-proxy", start: func(_ context.Context, set Setup, r *Running) error {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		to := &url.URL{Scheme: "http", Host: set.Origin.String()}
		transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}
		quiet := log.New(io.Discard, "", 0)
		srv := &http.Server{ErrorLog: quiet, Handler: &httputil.ReverseProxy{ErrorLog: quiet, Transport: transport, Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(to)
			p.Out.Host = p.In.Host
		}}}
		served := make(chan struct{})
		go func() {
			defer close(served)
			_ = srv.Serve(l)
		}()
		r.HTTP = l.Addr().String()
		r.end = func() {
			srv.Close()
			transport.CloseIdleConnections()
			<-served
		}
		return nil
	}}
}
