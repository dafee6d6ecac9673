// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import "go.yaml.in/yaml/v4"

// A pair is a key of a mapping and its value.
type pair struct {
	name  string
	at    place // of the key
	value *yaml.Node
}

// pairs returns what the mapping n holds, in order: its own keys and then
// those that it merges in. Keys that occur twice are problems.
func (b *binder) pairs(n *yaml.Node, path string) []pair {
	seen := make(map[string]int, len(n.Content)/2) // line of the key
	return b.gather(nil, n, path, seen, nil)
}

// gather appends the pairs of n, which is merged into the mappings of outer,
// innermost last, to list.
func (b *binder) gather(list []pair, n *yaml.Node, path string, seen map[string]int, outer []*yaml.Node) []pair {
	var merged []*yaml.Node
	own := make(map[string]bool, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		at := placeOf(n.Content[i])
		if !b.count(at, path) {
			return list
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			b.problem(at, path, "has %s as a key, want a name", kinds[key.Kind])
		case key.ShortTag() == "!!merge":
			merged = append(merged, value)
		case own[key.Value]:
			b.problem(at, dot(path, key.Value), "occurs twice, first on line %d", seen[key.Value])
		default:
			own[key.Value] = true
			if _, ok := seen[key.Value]; !ok { // else what is nearer wins
				seen[key.Value] = at.line
				list = append(list, pair{key.Value, at, value})
			}
		}
	}
	for _, m := range merged {
		list = b.merge(list, m, path, seen, append(outer, n))
	}
	return list
}

// merge appends what a merge key with value n adds to list.
func (b *binder) merge(list []pair, n *yaml.Node, path string, seen map[string]int, outer []*yaml.Node) []pair {
	at := placeOf(n)
	if !b.count(at, path) {
		return list
	}
	n = resolve(n)
	for _, o := range outer {
		if o == n {
			b.problem(at, path, "merges itself")
			return list
		}
	}
	switch {
	case n.Kind == yaml.MappingNode:
		return b.gather(list, n, path, seen, outer)
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			list = b.merge(list, c, path, seen, append(outer, n))
		}
	default:
		b.problem(at, path, "merges %s, want a mapping", clip(n.Value))
	}
	return list
}
