package netlab

const keeperMarker = "CATCHMENT_NETLAB_KEEPER"

func runKeeper(string) {}
