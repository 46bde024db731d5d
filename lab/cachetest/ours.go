package cachetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// ourConfig is a daemon that is a cache and nothing else. It gives answers no
// life that the origin did not give, as nginx here; the limits that a single
// client of a benchmark would meet are high, as nginx's are.
var ourConfig = template.Must(template.New("catchment").Parse(`
state-dir: {{.Dir}}/state
api: {socket: {{.Socket}}, gobgp-socket: {{.Dir}}/gobgp.sock}
metrics: {listen: ""}
log: {level: warn}
cache:
  name: catchment
  listen: ["{{.HTTP}}"]
{{- if .HTTPS}}
  tls: {listen: ["{{.HTTPS}}"], certificates: [{certificate: {{.Cert}}, key: {{.Key}}}]}
{{- end}}
  h2c: true
  store: {ram: {{.Memory}}, disk: {{.Store}}, size: {{.Disk}}}
  limits: {connection-requests: 1000000000, client-connections: 10000}
  sites:
    - name: test
      hosts: ["*"]
      upstream:
        origins: [{url: "http://{{.Origin}}"}]
      purge: {networks: [127.0.0.0/8, "::1/128"]}
      debug: {networks: [127.0.0.0/8, "::1/128"]}
`))

// catchment is the daemon with its cache, of the binary that was built.
func catchment() Subject {
	return Subject{Name: "catchment", TLS: true, H2C: true, Ours: true, start: func(ctx context.Context, set Setup, r *Running) error {
		if err := r.listeners(set); err != nil {
			return err
		}
		r.Socket = filepath.Join(set.Dir, "catchment.sock")
		values := map[string]any{"Dir": set.Dir, "Socket": r.Socket, "HTTP": r.HTTP, "HTTPS": r.HTTPS, "Origin": set.Origin,
			"Store": set.StoreDir, "Memory": set.Memory, "Disk": set.Disk}
		if set.TLS != nil {
			values["Cert"], values["Key"] = set.TLS.CertFile, set.TLS.KeyFile
		}
		var text strings.Builder
		if err := ourConfig.Execute(&text, values); err != nil {
			return err
		}
		conf := filepath.Join(set.Dir, "catchmentd.yaml")
		if err := os.WriteFile(conf, []byte(text.String()), 0o600); err != nil {
			return err
		}
		program := filepath.Join(set.Bin, "catchmentd")
		if _, err := os.Stat(program); err != nil {
			return fmt.Errorf("make build first: %w", err)
		}
		return r.run(ctx, set, program, "--config", conf)
	}}
}

// InMemory is the subject with a store in memory alone, if it is ours.
func (s Subject) InMemory() Subject {
	if !s.Ours {
		return s
	}
	begin := s.start
	s.start = func(ctx context.Context, set Setup, r *Running) error {
		set.StoreDir = ""
		return begin(ctx, set, r)
	}
	return s
}
