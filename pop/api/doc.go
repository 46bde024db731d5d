// Package api is the control API of a POP: JSON over HTTP on a Unix socket and
// on TCP by mutual TLS, the same calls over gRPC (catchmentv1, described by
// its own .proto and by reflection), with the types, the Server that
// catchmentd runs and the Client that the catchment command uses.
//
// It decides who may do what and nothing else: what a POP announces, and
// whether a guard forbids what an operator asks, is the Backend's business
// (pop.Controller). It owns its sockets and the connections on them; the gRPC
// server is GoBGP's, which takes Credentials, MayChange and Register from
// here.
//
// # Calls
//
//	GET  /v1/rights            Rights of the caller
//	GET  /v1/status            Status
//	GET  /v1/services          []ServiceStatus
//	GET  /v1/slices            []SliceStatus, of all services
//	GET  /v1/explain/{prefix}  Explanation
//	GET  /v1/fleet             Fleet: all POPs as this one knows them
//	GET  /v1/maintenance       []MaintenanceWindow
//	GET  /v1/ingress           IngressReport; not found where no ingress routers are told anything
//	GET  /v1/cost              CostStatus; ?days= (7 unless said); not found without prices
//	GET  /v1/cache             CacheStatus; not found where there is no cache server
//	GET  /v1/cache/purges      CachePurges, the newest first; ?limit=
//	GET  /v1/cache/show        CacheObject; ?url= ?header= (NAME: VALUE, may be repeated)
//	GET  /v1/cache/trace       CacheTrace; ?url= ?method= ?header=
//	GET  /v1/dns               DNSStatus; not found where there is no DNS server
//	GET  /v1/dns/explain       DNSExplanation; ?name= ?client= ?resolver= ?local= ?v6=
//	GET  /v1/resync            ResyncStatus; not found where flows do not go on elsewhere
//	GET  /v1/resync/flows      []ResyncFlow; ?from= (a POP; not given: our own) ?limit=
//	GET  /v1/journal           JournalEntry, one JSON object a line, oldest first;
//	                           ?service= ?slice= ?since= (RFC 3339 or a duration
//	                           back from now) ?limit= (the last n, 1000 unless
//	                           said; 0: all) ?follow=1
//	GET  /v1/watch             Event: the whole status, then what changes, as it
//	                           changes; one JSON object a line, or server-sent
//	                           events to whom accepts text/event-stream
//	POST /v1/plan              PlanRequest -> Plan; changes nothing (kind config takes the right to)
//	POST /v1/drain             Change -> Result
//	POST /v1/undrain           Change -> Result
//	POST /v1/hold              Change -> Result
//	POST /v1/pin               Change -> Result; needs a stance
//	POST /v1/release           Change -> Result; ends holds and pins
//	POST /v1/maintenance/add   NewWindow  -> Result
//	POST /v1/maintenance/remove WindowName -> Result
//	POST /v1/cache/purge       CachePurge -> CachePurged; in force when it answers
//	POST /v1/reload            {}     -> Reloaded
//	POST /v1/stop              Change -> Result; drain everything and leave
//
// A call that fails answers with an Error and a status of 4xx or 5xx. Unknown
// fields and parameters are refused, so a typing error never means "all
// services".
//
// # Rights
//
// Whoever can connect may read. On the Unix socket its mode (0660 by default)
// and its directory say who that is; changes need root, the daemon's own
// user, or the configured group. The kernel says who calls (SO_PEERCRED), and
// that is the `by` of an intent; nothing a caller writes can alter it. On TCP
// the certificates say it: one that api.tls.client-ca signed may read, and
// change things if one of its names is in api.tls.change. Who may only read
// does not see the neighbors' passwords in GoBGP's API either.
package api
