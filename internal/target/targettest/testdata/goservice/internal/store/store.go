// Package store has what generic functions and methods look like.
package store

// Putter takes numbers.
type Putter interface{ Put(int) }

// Shelf holds anything.
type Shelf[T any] struct {
	things []T
	Seen   func()
}

// Put adds a thing.
func (s *Shelf[T]) Put(thing T) {
	s.things = append(s.things, thing)
	s.Seen()
}

// Each calls a function.
func Each[T any](list []T, do func(T)) {
	for _, x := range list {
		do(x)
	}
}
