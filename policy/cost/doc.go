// Package cost knows what traffic costs and where it would cost less: the bill
// of a POP (a price per gigabyte, or the 95th percentile of a link), levels that
// a month should stay under, which movable traffic to send elsewhere in a slot
// so that it does, and what was saved against doing nothing, at what harm.
//
// Links billed by percentile have slots that cost nothing: the 5 % above the
// percentile. Plan spends them where traffic cannot move, and moves the rest
// only as far as it must: to the nearest of the cheaper POPs below their levels.
//
// The package is pure: slots come in as arguments, one after another. It moves
// no session itself: policy/steer and policy/redirect do, with what it says of
// pressure and targets.
package cost
