package gobgp_test

func child() {}

const childEnv = "GOBGP_TEST_CHILD"
