# make demo   see Catchment do its main job, in about a minute
# make test   everything, against real routers
GO      ?= go
BIN     := $(CURDIR)/bin
VERSION ?= $(shell git describe --tags --always --long --abbrev=12 --dirty 2>/dev/null || echo devel)
LDFLAGS := -s -w -X github.com/catchment/catchment/cmd/internal/buildinfo.linked=$(VERSION)
# The time of everything that is packed: that of the last commit.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: all build demo test race lint cover schedules fuzz bench-failover bench bench-cli test-gobgp-cli lab lab-fleet lab-containerlab pictures deps clean docs sbom deb image reproducible test-package check-alerts proto bpf sim cache-tests h2spec cache-probe cache-faults bench-cache bench-flow bench-jump bench-resync lab-resync lab-slow

all: build

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o $(BIN)/ ./cmd/catchmentd ./cmd/catchment

# A world of namespaces, three POPs and a story; needs Go and nothing else.
demo: build
	$(BIN)/catchment lab demo $(DEMOFLAGS)

# Debian packages that the tests need; prints what is missing before installing.
deps:
	@lab/deps.sh

# A test against real daemons that fails once and then passes by itself was
# disturbed by the machine; it is named in the summary and does not fail the
# run. More than a few such, or one that fails again, does. Packages mostly wait
# for timers and routers, so four run at a time; what the nodes of their labs run
# is built once; `make lint` has vetted them.
test: deps build
	@rm -f $(BIN)/rerun.txt
	$(GO) build -o $(BIN)/nodes/ ./cmd/catchmentd ./cmd/catchment github.com/osrg/gobgp/v3/cmd/gobgpd github.com/osrg/gobgp/v3/cmd/gobgp
	CATCHMENT_BIN=$(BIN)/nodes $(GO) tool gotestsum --format standard-quiet --hide-summary skipped --packages ./... \
		--rerun-fails=1 --rerun-fails-max-failures 6 --rerun-fails-report $(BIN)/rerun.txt -- -vet=off -p 4 -timeout 20m
	@if [ -s $(BIN)/rerun.txt ]; then echo "failed once, then passed (or not):"; cat $(BIN)/rerun.txt; fi

race: deps build
	GO="$(GO)" .ci/race $(addsuffix /...,$(wildcard ./bgp ./health ./policy ./pop ./server))

lint:
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Statements of policy and all below it that its own tests reach; 95 % at least.
cover:
	@mkdir -p $(BIN)
	$(GO) test -count=1 -coverpkg=./policy/... -coverprofile=$(BIN)/policy.cover ./policy/... >/dev/null
	@$(GO) tool cover -func=$(BIN)/policy.cover | awk '$$3 + 0 < 100 && !/^total/ { print } \
		/^total/ { v = $$3 + 0; met = (v >= 95); print "goal policy-coverage-percent", v, 95, (met ? "met" : "missed"); exit !met }'

# A million random schedules against the guards of one POP's view (three
# minutes), and of whole fleets that speak with one another (half an hour).
SCHEDULES       ?= 1000000
FLEET_SCHEDULES ?= 1000000
schedules:
	CATCHMENT_SCHEDULES=$(SCHEDULES) GOGC=400 $(GO) test -count=1 -v -timeout 30m -run 'TestSchedules$$' ./policy/guard
	CATCHMENT_SCHEDULES=$(FLEET_SCHEDULES) GOGC=400 $(GO) test -count=1 -v -timeout 180m -run 'TestFleetSchedules$$' ./pop/fleet

# Each fuzz target for a short while; FUZZTIME=10m for longer.
FUZZTIME ?= 10s
fuzz:
	@grep -rlE '^func Fuzz' --include=*_test.go . | while read -r f; do \
		for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
			echo "== $$f $$t"; $(GO) test -run xxx -fuzz "^$$t$$" -fuzztime $(FUZZTIME) ./$$(dirname $$f) || exit 1; \
		done; \
	done

# Kill to route gone, beside ExaBGP and a checker for BIRD, in one run.
bench-failover: deps build
	$(GO) run ./lab/bench/failover -bin $(BIN)

# The stock gobgp client and catchment side by side, byte for byte: the size of
# the corpus by command, and what differs.
test-gobgp-cli:
	@mkdir -p $(BIN); $(GO) test -count=1 -timeout 15m -run TestLikeTheStockClient ./bgp/gobgp/cli -v >$(BIN)/gobgp-cli.log; status=$$?; \
		grep -vE '^ *(=== |--- PASS)' $(BIN)/gobgp-cli.log; exit $$status

# 10,000 routes listed by the stock client and by catchment, in one run.
bench-cli: build
	$(GO) run ./lab/bench/cli -bin $(BIN)

# The stories of lab/testdata on every topology.
lab: deps build
	$(GO) test -count=1 -timeout 20m -v ./lab

# The policy code in virtual time, beside other ways to shed load: tables, one
# line a goal, and CSV and SVG in bin/sim. SIMFLAGS=-quick for a look.
sim:
	$(GO) run ./lab/sim/run -out $(BIN)/sim $(SIMFLAGS)

# A cache beside others, in a network namespace of its own. cache-tests takes
# SUITE, a checkout of http-tests/cache-tests with undici in node_modules.
CACHETEST = $(GO) run ./lab/cachetest/run -bin $(BIN) $(if $(CACHES),-caches $(CACHES))
cache-tests: build
	@lab/deps.sh node nodejs nginx nginx-light
	@test -n "$(SUITE)" || { echo "make cache-tests SUITE=folder of a checkout of http-tests/cache-tests"; exit 1; }
	$(CACHETEST) -suite $(SUITE) suite

# HTTP/2 by the public suite h2spec, ours beside nginx.
h2spec: build
	@lab/deps.sh nginx nginx-light
	GOBIN=$(BIN)/tools $(GO) install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible
	$(CACHETEST) -h2spec $(BIN)/tools/h2spec h2spec

# Own checks of ranges, partial objects, coalescing and stale answers, ours
# beside nginx and Varnish.
cache-probe: build
	@lab/deps.sh nginx nginx-light varnishd varnish
	$(CACHETEST) probe

# Harm done to the whole server, ours beside nginx: broken origins, full and
# failing disks, kills, slow clients, bombs; some minutes.
cache-faults: build
	@lab/deps.sh nginx nginx-light
	$(CACHETEST) faults

# CPU a request of hits beside nginx and Varnish, in one run, on two cores; RAM
# for the index of a million objects, and the hit ratio on a trace beside LRU.
bench-cache: build
	@lab/deps.sh nginx nginx-light varnishd varnish wrk wrk h2load nghttp2-client taskset util-linux
	$(GO) build -o $(BIN)/bench-cache ./lab/bench/cache && $(BIN)/bench-cache -bin $(BIN) $(BENCHFLAGS)
	@CATCHMENT_STORE_OBJECTS=1000000 $(GO) test -count=1 -v -timeout 10m -run 'TestMillion$$|TestHitRatio$$' ./server/cache/store | grep -vE '^(===|---|PASS|ok)'

# Flows that go on at another POP beside flows that start cold: the first
# megabyte, the rest of an object, less capacity than before, competition.
bench-jump:
	@mkdir -p $(BIN); $(GO) build -o $(BIN)/bench-jump ./lab/bench/jump && $(BIN)/bench-jump $(BENCHFLAGS)

# What following flows costs: the flow table over 100,000 real sockets, and
# checkpoints of 10,000 flows.
bench-flow:
	@mkdir -p $(BIN); $(GO) build -o $(BIN)/bench-flow ./lab/bench/flow && $(BIN)/bench-flow $(BENCHFLAGS)
# Steering by cost in virtual time: players with buffers, and months with prices
# by percentile, beside the nearest POP, the cheapest, and pacing alone.
.PHONY: sim-cost
sim-cost:
	$(GO) run ./lab/steer/run $(SIMFLAGS)

# The choice of rendezvous DNS beside gdnsd's on 10,000 random queries, scopes
# on 500,000 networks, and the memory of a million.
.PHONY: steer bench-dns test-dns
steer:
	@lab/deps.sh gdnsd gdnsd pdns_server pdns-backend-geoip
	@PATH="$$PATH:/usr/sbin" CATCHMENT_GDNSD=gdnsd CATCHMENT_PDNS=pdns_server $(GO) test -count=1 -v -run 'TestLikeGdnsd|TestLikePowerDNS' ./pop/nets
	@CATCHMENT_STEER_LARGE=1 $(GO) test -count=1 -v -run 'TestScopes|TestMillion' ./policy/steer ./pop/slowness

# CPU a question beside gdnsd, Knot and CoreDNS (not in Debian: built here), in
# one run, on two cores; memory with a million networks, and what is lost while
# half a million are loaded.
bench-dns: build
	@lab/deps.sh gdnsd gdnsd knotd knot /usr/share/doc/knot-module-geoip knot-module-geoip dnsperf dnsperf taskset util-linux
	GOBIN=$(BIN)/tools $(GO) install github.com/coredns/coredns@v1.15.0
	$(GO) build -o $(BIN)/bench-dns ./lab/bench/dns && $(BIN)/bench-dns -coredns $(BIN)/tools/coredns $(BENCHFLAGS)

# The DNS server judged by others: dig, kdig, delv, ldns-verify-zone, and NSD and
# Knot as secondaries, asked the same questions.
test-dns:
	@lab/deps.sh dig bind9-dnsutils delv bind9-dnsutils kdig knot-dnsutils ldns-verify-zone ldnsutils nsd nsd knotd knot
	CATCHMENT_DNS=1 $(GO) test -count=1 -v -run TestJudged ./server/dns | grep -vE '^(===)'

# A fleet that shares load: shed, return, and a control core that is hurt
# meanwhile, with FRR and real requests; about three minutes.
lab-fleet: deps build
	$(GO) run ./lab/fleet/run -bin $(BIN)

# Downloads while routes move: drains, flips, deaths, NAT and firewalls, with
# curl, wget, aria2, apt, Chromium and `catchment get`; some minutes. STORIES
# names some of them, with commas.
RESYNC = $(GO) build -o $(BIN)/lab-resync ./lab/resync/run && $(BIN)/lab-resync -bin $(BIN)
lab-resync: deps build
	@lab/deps.sh wget wget aria2c aria2 nft nftables tmux tmux
	$(RESYNC) $(if $(STORIES),-only "$(STORIES)")

# A thousand downloads under a drain and under a death, beside withdraws by
# BIRD and curl's own ways; then what following flows costs, and what skipping
# slow start brings.
bench-resync: deps build
	@lab/deps.sh nft nftables
	$(RESYNC) -bench
	@$(MAKE) --no-print-directory bench-flow bench-jump

# Clients that take little: 300 real flows whose limit is known, and what the
# classifier calls them; then, at two POPs, a client behind 1 Mbit/s and a player
# with a full buffer; about five minutes. SLOWFLAGS="-flows 0" leaves the flows
# out, "-only none" the POPs.
lab-slow: deps build
	@lab/deps.sh dig bind9-dnsutils
	$(GO) build -o $(BIN)/lab-slow ./lab/slow/run && $(BIN)/lab-slow -bin $(BIN) $(SLOWFLAGS)

# One topology under containerlab itself, where Docker can run.
lab-containerlab: sbom
	lab/containerlab.sh

# Manual pages and shell completions, into bin/docs.
docs: build
	$(BIN)/catchment docs $(BIN)/docs --reference configs/reference.yaml

# What the programs are made of, as CycloneDX JSON, and the licences of that.
sbom: build
	@$(GO) build -o $(BIN)/tools/sbom ./configs/packaging/sbom
	@for p in catchmentd catchment; do \
		$(BIN)/tools/sbom -version $(VERSION) $(BIN)/$$p >$(BIN)/$$p.cdx.json || exit 1; \
		$(BIN)/tools/sbom -notices $(BIN)/$$p >$(BIN)/$$p.licences || exit 1; \
	done

# A Debian package, by dpkg-deb.
deb: docs sbom
	@configs/packaging/deb.sh $(BIN) $(VERSION) $$($(GO) env GOARCH)

# The package installed, run, upgraded and removed on a booted machine: a clean
# Debian with systemd, in namespaces of its own.
test-package:
	@for n in 1 2; do COMPRESS=none $(MAKE) -s deb BIN=$(BIN)/package/$$n VERSION=v0.0.$$n-0-g000000000000 >/dev/null || exit 1; done
	@configs/packaging/booted.sh $(BIN)/package/1/*.deb $(BIN)/package/2/*.deb

# The alert rules, read and played by Prometheus's own promtool.
check-alerts:
	@lab/deps.sh promtool prometheus
	promtool check rules --lint=all --lint-fatal configs/alerts.yml
	promtool test rules configs/alerts.test.yml

# A container image with the two programs and nothing else, by docker.
DOCKER ?= docker
image: sbom
	configs/packaging/image.sh $(BIN) $(BIN)/image
	$(DOCKER) build -t catchment:$(VERSION) $(BIN)/image

# The last commit built twice, in two places and from nothing the second time,
# gives the same bytes.
reproducible:
	@configs/packaging/reproducible.sh $(VERSION)

# The pictures of the README: the real commands in a terminal and the page in
# Chromium, with fixed data.
pictures: deps
	$(GO) test -count=1 -run 'TestPicture$$' ./cmd/catchment/top -update
	$(GO) test -count=1 -run 'TestPicture$$' ./pop/web -update
	$(GO) test -count=1 -run 'TestReadme$$' ./cmd/catchment -update

# The program that lets TCP flows jump, for the kernel; the object is committed,
# so that who builds Catchment needs no clang.
bpf:
	lab/deps.sh clang clang llvm-strip llvm /usr/include/bpf/bpf_helpers.h libbpf-dev
	for p in server/resync/jump/jump server/resync/flow/tap/tap; do \
		(cd $${p%/*} && clang -O2 -g -Wall -Werror -target bpf -D__TARGET_ARCH_x86 -I/usr/include/$$(uname -m)-linux-gnu \
			-ffile-prefix-map=$(CURDIR)=. -c bpf/$${p##*/}.c -o $${p##*/}.o && llvm-strip -g $${p##*/}.o) || exit 1; done

# The Go side of the gRPC API and of the relay, after a change of a .proto file.
proto:
	lab/deps.sh protoc protobuf-compiler
	GOBIN=$(BIN)/tools $(GO) install google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	cd pop/api/catchmentv1 && PATH="$(BIN)/tools:$$PATH" protoc --go_out=. --go_opt=paths=source_relative \
		--go-grpc_out=. --go-grpc_opt=paths=source_relative catchment.proto cache.proto core.proto ingress.proto
	cd pop/relay/relayv1 && PATH="$(BIN)/tools:$$PATH" protoc --go_out=. --go_opt=paths=source_relative \
		--go-grpc_out=. --go-grpc_opt=paths=source_relative relay.proto

clean:
	rm -rf $(BIN)
