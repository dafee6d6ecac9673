// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package balancer

// minTurns is how many turns a rotation may have at least before its weights
// are scaled down; turnsPerBackend is the same for each backend of large sets.
const (
	minTurns        = 1 << 16
	turnsPerBackend = 16
)

// boundWeights returns positive weights in the proportions of the given ones,
// which are positive and at most MaxWeight, small enough to be written out as
// a rotation: they add up to at most maxTurns plus one for each backend.
//
// With limit S = maxTurns, total T and n backends, a weight w becomes
// w*S/T rounded to the nearest, but at least 1. Each is off by less than 1, so
// their sum is off from S by less than n, and each share by less than
// (n+1)/S of all turns.
func boundWeights(weights []int) []int {
	divisor, total := 0, 0
	for _, w := range weights {
		divisor = gcd(w, divisor)
		total += w
	}
	bounded := make([]int, len(weights))
	limit := maxTurns(len(weights))
	if total/divisor <= limit {
		for i, w := range weights {
			bounded[i] = w / divisor
		}
		return bounded
	}
	for i, w := range weights {
		scaled := (int64(w)*int64(limit) + int64(total)/2) / int64(total)
		bounded[i] = max(1, int(scaled))
	}
	return bounded
}

// maxTurns returns the length that a rotation of n backends is scaled to.
func maxTurns(n int) int { return max(minTurns, turnsPerBackend*n) }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// smoothOrder returns one round of nginx's smooth weighted round robin, as
// indexes into weights, which are positive.
//
// That algorithm adds to each backend's score its weight, takes the highest
// score (the first of equals), and subtracts the sum of weights from it. Done
// for each backend it costs their number in each turn. But backends of equal
// weight differ in score only by how often they were taken, so among them the
// turn goes round in order, and it is enough to keep the score of the one
// whose turn is next: a turn costs the number of different weights.
func smoothOrder(weights []int) []uint32 {
	classes, total := weightClasses(weights)
	order := make([]uint32, 0, total)
	for range total {
		best := &classes[0]
		for i := range classes {
			c := &classes[i]
			c.score += c.weight
			if c.score > best.score || c.score == best.score && c.head() < best.head() {
				best = c
			}
		}
		order = append(order, best.head())
		best.next++
		if best.next == len(best.backends) {
			best.next = 0
			best.score -= total
		}
	}
	return order
}

// weightClass is the backends of one weight.
type weightClass struct {
	weight   int
	score    int      // of the backend whose turn is next
	next     int      // which that is, in backends
	backends []uint32 // in order
}

func (c *weightClass) head() uint32 { return c.backends[c.next] }

// weightClasses sorts the backends by weight, and adds up the weights.
func weightClasses(weights []int) (classes []weightClass, total int) {
	classOf := make(map[int]int) // weight to index in classes
	for i, w := range weights {
		at, ok := classOf[w]
		if !ok {
			at = len(classes)
			classOf[w] = at
			classes = append(classes, weightClass{weight: w})
		}
		classes[at].backends = append(classes[at].backends, uint32(i))
		total += w
	}
	return classes, total
}
