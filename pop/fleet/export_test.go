package fleet

// NewState makes the state of a configuration, for tests that play fleets.
var NewState = newState
