// Package metrics holds every number that Catchment exports to Prometheus:
// the names (this file, the only place that has them), an own registry, and
// plain methods by which the daemon sets them. It decides nothing and asks
// nobody: what is not told stays as it was, and what is gone must be forgotten
// with a Forget method, or its last value would be exported for ever.
//
// Labels are bounded by the configuration: services, slices, checks,
// neighbors, POPs, and our own small vocabularies. Nothing that comes from the
// network becomes a label.
package metrics

// Names. Units are in them: _seconds, _ratio; counters end in _total. A family
// with a "state", "verdict" or "stance" label has one series for each word and
// 1 at the one that holds.
const (
	BuildInfo = "catchment_build_info"

	CheckVerdict = "catchment_check_verdict"
	CheckLatency = "catchment_check_latency_seconds"
	CheckResults = "catchment_check_results_total"

	ServiceVerdict = "catchment_service_verdict"
	ServiceHealth  = "catchment_service_health_ratio"
	ServiceDrain   = "catchment_service_drain_in_progress"

	SliceStance    = "catchment_slice_stance"
	SliceRung      = "catchment_slice_rung"
	SliceReason    = "catchment_slice_reason_info"
	StanceChanges  = "catchment_stance_changes_total"
	GuardVetoes    = "catchment_guard_vetoes_total"
	Announcements  = "catchment_announcements"
	DecisionDelay  = "catchment_decision_latency_seconds"
	DetectionDelay = "catchment_detection_latency_seconds"

	SessionState      = "catchment_bgp_session_state"
	SessionUp         = "catchment_bgp_session_established"
	SessionFlaps      = "catchment_bgp_session_flaps_total"
	SessionAdvertised = "catchment_bgp_session_advertised_paths"
	SessionReceived   = "catchment_bgp_session_received_paths"
	BFDUp             = "catchment_bfd_session_up"

	FleetPeerAge   = "catchment_fleet_peer_age_seconds"
	FleetPeerRTT   = "catchment_fleet_peer_rtt_seconds"
	FleetExchanges = "catchment_fleet_exchanges_total"
	FleetFailures  = "catchment_fleet_exchange_failures_total"
	FleetRefused   = "catchment_fleet_refused_messages_total"

	LoadCurrent  = "catchment_load"
	LoadCapacity = "catchment_load_capacity"
	LoadAge      = "catchment_load_age_seconds"
	LoadSourceUp = "catchment_load_source_up"

	IngressAssigned   = "catchment_ingress_assigned"
	IngressUnassigned = "catchment_ingress_unassigned"
	IngressWaiting    = "catchment_ingress_waiting"
	IngressLoad       = "catchment_ingress_load"
	IngressCapacity   = "catchment_ingress_capacity"
	IngressMoves      = "catchment_ingress_moves_total"

	CoreReachable = "catchment_core_reachable"
	CoreLeader    = "catchment_core_leader"
	CoreMembers   = "catchment_core_members"
	CoreRevision  = "catchment_core_revision"
	CoreDatabase  = "catchment_core_database_bytes"
	CoreWrites    = "catchment_core_writes_total"
	CoreRefused   = "catchment_core_refused_writes_total"

	RelayRooted      = "catchment_relay_rooted"
	RelayDepth       = "catchment_relay_depth"
	RelayBehind      = "catchment_relay_behind_revisions"
	RelayBelow       = "catchment_relay_below"
	RelayBehindBelow = "catchment_relay_below_behind_revisions"
	RelayAge         = "catchment_relay_parent_age_seconds"
	RelayPOPs        = "catchment_relay_pops"
	RelaySnapshots   = "catchment_relay_snapshots_total"
	RelayMismatches  = "catchment_relay_hash_mismatches_total"
	RelaySwitches    = "catchment_relay_parent_switches_total"
	RelayRefused     = "catchment_relay_refused_presences_total"

	BalanceRounds   = "catchment_balance_rounds_total"
	BalanceSteps    = "catchment_balance_steps_total"
	BalanceUsed     = "catchment_balance_used_ratio"
	BalanceRoom     = "catchment_balance_room"
	BalanceReserved = "catchment_balance_reserved"
	BalanceLent     = "catchment_balance_lent_ratio"

	JournalEntries = "catchment_journal_entries_total"
	JournalErrors  = "catchment_journal_errors_total"
	JournalDropped = "catchment_journal_dropped_total"
	JournalFailing = "catchment_journal_failing"

	ReloadOK   = "catchment_config_last_reload_successful"
	ReloadTime = "catchment_config_last_reload_success_timestamp_seconds"
	Alarm      = "catchment_alarm"
)

// labels: every label name that is in use.
const (
	lService   = "service"
	lSlice     = "slice"
	lCheck     = "check"
	lVerdict   = "verdict"
	lOutcome   = "outcome"
	lStance    = "stance"
	lReason    = "reason"
	lGuard     = "guard"
	lNeighbor  = "neighbor"
	lState     = "state"
	lPOP       = "pop"
	lDirection = "direction"
	lSource    = "source"
	lFamily    = "family"
	lAlarm     = "alarm"
	lOf        = "of"
	lName      = "name"
	lUnit      = "unit"
)

// delayBuckets are seconds: 100 microseconds to 10 s.
var delayBuckets = []float64{
	.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10,
}
