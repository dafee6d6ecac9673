// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// nginxOrder is nginx's algorithm, word for word, for one round.
func nginxOrder(weights []int) []uint32 {
	total := 0
	for _, w := range weights {
		total += w
	}
	current := make([]int, len(weights))
	var order []uint32
	for range total {
		best := -1
		for i, w := range weights {
			current[i] += w
			if best < 0 || current[i] > current[best] {
				best = i
			}
		}
		current[best] -= total
		order = append(order, uint32(best))
	}
	return order
}

func TestSmoothOrderIsThatOfNginx(t *testing.T) {
	tests := [][]int{{1}, {5, 1, 1}, {1, 1, 1}, {1, 2}, {2, 1}, {4, 2}, {3, 3, 3, 1}, {1, 5, 1, 5}, {7, 7, 2, 2, 7}, {100, 1}}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		weights := make([]int, 1+rng.IntN(12))
		for i := range weights {
			weights[i] = 1 + rng.IntN(1+rng.IntN(20))
		}
		tests = append(tests, weights)
	}
	for _, weights := range tests {
		if got, want := smoothOrder(weights), nginxOrder(weights); !slices.Equal(got, want) {
			t.Errorf("smoothOrder(%v) = %v, want %v", weights, got, want)
		}
	}
}

func TestBoundWeights(t *testing.T) {
	tests := []struct {
		name string
		in   []int
		want []int
	}{
		{"one", []int{7}, []int{1}},
		{"equal", []int{300, 300, 300}, []int{1, 1, 1}},
		{"common divisor", []int{500, 100, 100}, []int{5, 1, 1}},
		{"prime to each other", []int{6, 10, 15}, []int{6, 10, 15}},
		{"at the limit", []int{65535, 1}, []int{65535, 1}},
		{"one more", []int{65536, 1}, []int{65535, 1}},
		{"absurd", []int{MaxWeight, 1}, []int{65536, 1}},
		{"absurd halves", []int{MaxWeight, MaxWeight - 1}, []int{32768, 32768}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := boundWeights(tt.in); !slices.Equal(got, tt.want) {
				t.Errorf("boundWeights(%v) = %v, want %v", tt.in, got, tt.want)
			}
		})
	}
}

// The error of proportions is what RoundRobin documents.
func TestBoundWeightsError(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		n := 1 + rng.IntN(50)
		if round%50 == 0 {
			n = 10_000
		}
		weights := make([]int, n)
		for i := range weights {
			weights[i] = 1 + rng.IntN(1+rng.IntN(MaxWeight))
			if round%3 == 0 && i > 0 {
				weights[i] = 1 + i%2 // one giant among dwarfs
			}
		}
		weights[0] = MaxWeight
		bounded := boundWeights(weights)
		total, turns := 0, 0
		for i := range weights {
			total += weights[i]
			turns += bounded[i]
		}
		if most := maxTurns(n) + n; turns > most {
			t.Fatalf("%d backends: %d turns, want at most %d", n, turns, most)
		}
		limit := float64(n+1) / float64(maxTurns(n))
		for i := range weights {
			if bounded[i] < 1 {
				t.Fatalf("weight %d became %d, want at least 1", weights[i], bounded[i])
			}
			want, got := float64(weights[i])/float64(total), float64(bounded[i])/float64(turns)
			if math.Abs(got-want) > limit {
				t.Fatalf("%d backends: a share of %v became %v, want within %v", n, want, got, limit)
			}
		}
	}
	if n := 5000; float64(n+1)/float64(maxTurns(n)) >= 1.0/15 {
		t.Errorf("documented error does not hold for %d backends", n)
	}
}

// In any stretch of turns a backend has had its share, to within one turn for
// each backend there is.
func TestSmoothOrderIsEven(t *testing.T) {
	for _, weights := range [][]int{{5, 1, 1}, {10, 7, 3, 3, 1}, {1, 2, 3, 4, 5, 6, 7, 8}, {50, 1, 1, 1}} {
		order := smoothOrder(weights)
		for i, w := range weights {
			had := 0
			for turn, chosen := range order {
				if chosen == uint32(i) {
					had++
				}
				share := float64(w*(turn+1)) / float64(len(order))
				if math.Abs(float64(had)-share) > float64(len(weights)) {
					t.Errorf("%v: after %d turns backend %d had %d, want about %.1f", weights, turn+1, i, had, share)
				}
			}
			if had != w {
				t.Errorf("%v: backend %d had %d turns in a round, want %d", weights, i, had, w)
			}
		}
	}
}

func BenchmarkSmoothOrder(b *testing.B) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, n := range []int{10, 1000, 10_000} {
		for _, spread := range []int{1, 100, MaxWeight} {
			weights := make([]int, n)
			for i := range weights {
				weights[i] = 1 + rng.IntN(spread)
			}
			b.Run(fmt.Sprintf("n=%d/weights=1-%d", n, spread), func(b *testing.B) {
				for b.Loop() {
					smoothOrder(boundWeights(weights))
				}
			})
		}
	}
}
