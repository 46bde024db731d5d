package pop

// SetClock replaces the kernel's clock.
func (s *Store) SetClock(c Clock) { s.clock = c }
