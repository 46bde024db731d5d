package core

import "math/big"

func mustSerial() *big.Int {
	n, err := newSerial()
	if err != nil {
		panic(err)
	}
	return n
}
