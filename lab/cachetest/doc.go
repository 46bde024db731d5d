// Package cachetest puts a cache under test in front of an origin and looks at
// what it does: the same for Catchment's own, nginx, Varnish and a Go reverse
// proxy that stores nothing, so that every figure stands beside others of the
// same run.
//
// It decides how each subject is configured (Subjects) and what counts as
// passed; it owns the processes and folders of a run and ends them. It never
// listens beyond loopback, and its commands run in a network namespace of
// their own (lab/sandbox). What it tests, it tests from outside by HTTP.
//
// Parts: suite.go runs the public suite http-tests/cache-tests from a checkout
// that the user names (no code of it is here); probe*.go are own checks of
// ranges, partial objects, coalescing and stale answers; fault*.go does harm
// to the whole server and looks at what is served afterwards. The command is
// lab/cachetest/run; lab/bench/cache measures with the same subjects.
package cachetest
