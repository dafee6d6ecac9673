// Copyright 2026 The belay authors
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"
)

// sample has a field of every sort.
type sample struct {
	Base `yaml:",inline"`

	Text  string         `yaml:"text"`
	Bool  bool           `yaml:"bool"`
	Int   int            `yaml:"int" min:"-3" max:"9"`
	Int8  int8           `yaml:"int8"`
	Uint  uint16         `yaml:"uint"`
	Big   uint64         `yaml:"big"`
	Float float64        `yaml:"float" max:"1.5"`
	Wait  time.Duration  `yaml:"wait" max:"1h"`
	Pause time.Duration  `yaml:"secs,notzero" unit:"s" default:"5s"`
	Size  int64          `yaml:"size" unit:"bytes" default:"64KiB" max:"1GiB"`
	Addr  netip.AddrPort `yaml:"addr"`
	List  []int          `yaml:"list" max:"5"`
	Map   map[string]int `yaml:"map"`
	Ptr   *int           `yaml:"ptr"`
	Hosts []host         `yaml:"hosts"`

	Untagged int
}

type Base struct {
	Inner string `yaml:"inner" default:"in"`
}

// host can be written as a text, too.
type host struct {
	Name   string `yaml:"name,required"`
	Weight int    `yaml:"weight" default:"1" min:"1"`
}

func (h *host) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return errors.New("is empty")
	}
	h.Name = string(b)
	return nil
}

func (h *host) Validate() error {
	var errs []error
	if strings.Contains(h.Name, " ") {
		errs = append(errs, Errorf("name", "has a space"))
	}
	if h.Weight == 13 {
		errs = append(errs, errors.New("must not have an unlucky weight"))
	}
	return errors.Join(errs...)
}

// defaults are what a file without keys gives.
func defaults() sample {
	return sample{Base: Base{Inner: "in"}, Pause: 5 * time.Second, Size: 64 << 10}
}

func TestBind(t *testing.T) {
	seven := 7
	tests := []struct {
		in   string
		want func(*sample)
	}{
		{"", func(*sample) {}},
		{"# nothing\n---\n", func(*sample) {}},
		{"text:\nbool: ~\nlist: null\n", func(*sample) {}},
		{"inner: x", func(s *sample) { s.Inner = "x" }},
		{"text: 'a b'", func(s *sample) { s.Text = "a b" }},
		{"text: 1.10", func(s *sample) { s.Text = "1.10" }},
		{"text: on", func(s *sample) { s.Text = "on" }},
		{"bool: true", func(s *sample) { s.Bool = true }},
		{"bool: on", func(s *sample) { s.Bool = true }},
		{"int: -3", func(s *sample) { s.Int = -3 }},
		{"int: 9", func(s *sample) { s.Int = 9 }},
		{"int: 0x9", func(s *sample) { s.Int = 9 }},
		{"int8: -128", func(s *sample) { s.Int8 = -128 }},
		{"uint: 65_535", func(s *sample) { s.Uint = 65535 }},
		{"big: 18446744073709551615", func(s *sample) { s.Big = 1<<64 - 1 }},
		{"float: 1.5", func(s *sample) { s.Float = 1.5 }},
		{"wait: 1m30s", func(s *sample) { s.Wait = 90 * time.Second }},
		{"wait: '500ms'", func(s *sample) { s.Wait = 500 * time.Millisecond }},
		{"wait: 0", func(*sample) {}},
		{"wait: -1d", func(s *sample) { s.Wait = -24 * time.Hour }},
		{"secs: 3", func(s *sample) { s.Pause = 3 * time.Second }},
		{"secs: -1", func(s *sample) { s.Pause = -time.Second }},
		{"secs: 20ms", func(s *sample) { s.Pause = 20 * time.Millisecond }},
		{"size: 10MiB", func(s *sample) { s.Size = 10 << 20 }},
		{"size: 1.5 kB", func(s *sample) { s.Size = 1500 }},
		{"size: 1GiB", func(s *sample) { s.Size = 1 << 30 }},
		{"size: 77", func(s *sample) { s.Size = 77 }},
		{"addr: '[::1]:80'", func(s *sample) { s.Addr = netip.MustParseAddrPort("[::1]:80") }},
		{"list: [1, 5]", func(s *sample) { s.List = []int{1, 5} }},
		{"list: []", func(s *sample) { s.List = []int{} }},
		{"map: {a: 1, 2: 3}", func(s *sample) { s.Map = map[string]int{"a": 1, "2": 3} }},
		{"ptr: 7", func(s *sample) { s.Ptr = &seven }},
		{"hosts: [a, {name: b, weight: 2}]", func(s *sample) { s.Hosts = []host{{"a", 1}, {"b", 2}} }},
		{"x-any: {thing: [goes]}\nbool: true", func(s *sample) { s.Bool = true }},
		{"x-h: &h {name: a, weight: 3}\nhosts: [*h, {<<: *h, name: b}]",
			func(s *sample) { s.Hosts = []host{{"a", 3}, {"b", 3}} }},
		{"x-h: [&g {name: a}, &h {name: c, weight: 4}]\nhosts: [{<<: [*g, *h]}]",
			func(s *sample) { s.Hosts = []host{{"a", 4}} }},
		{`{"int": 3, "list": [1]}`, func(s *sample) { s.Int, s.List = 3, []int{1} }},
	}
	for _, tt := range tests {
		want := defaults()
		tt.want(&want)
		var got sample
		if err := Bind("f", []byte(tt.in), &got); err != nil {
			t.Errorf("Bind(%q): %v", tt.in, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("Bind(%q) = %+v, want %+v", tt.in, got, want)
		}
	}
}

func TestBindProblems(t *testing.T) {
	tests := []struct{ in, want string }{
		{"txt: 1", `f:1:1: txt is not a known key, did you mean "text"?`},
		{"Text: 1", `f:1:1: Text is not a known key, did you mean "text"?`},
		{"completely-different: 1", `f:1:1: completely-different is not a known key`},
		{"hosts: [{name: a, wieght: 2}]", `f:1:19: hosts[0].wieght is not a known key, did you mean "weight"?`},
		{"text: 1\n\ntext: 2", `f:3:1: text occurs twice, first on line 1`},
		{"map: {a: 1, a: 2}", `f:1:13: map.a occurs twice, first on line 1`},
		{"int: two", `f:1:6: int is wrong: want a whole number, got "two"`},
		{"int: 1.5", `f:1:6: int is wrong: want a whole number, got "1.5"`},
		{"int: 007", `f:1:6: int is wrong: want a whole number without leading zero (0o17 is octal), got "007"`},
		{"int: '3'", `f:1:6: int is the text "3", want it without quotes`},
		{"int: -4", `f:1:6: int is -4, want at least -3`},
		{"int: 10", `f:1:6: int is 10, want at most 9`},
		{"int: [1]", `f:1:6: int is a list, want a single value`},
		{"int: {a: 1}", `f:1:6: int is a mapping, want a single value`},
		{"int8: 128", `f:1:7: int8 is 128, which is out of range`},
		{"uint: -1", `f:1:7: uint is -1, which is out of range`},
		{"uint: 65536", `f:1:7: uint is 65536, which is out of range`},
		{"big: 18446744073709551616", `f:1:6: big is 18446744073709551616, which is out of range`},
		{"float: .nan", `f:1:8: float is wrong: want a number, got ".nan"`},
		{"float: 1.6", `f:1:8: float is 1.6, want at most 1.5`},
		{"bool: maybe", `f:1:7: bool is wrong: want true or false, got "maybe"`},
		{"bool: 1", `f:1:7: bool is wrong: want true or false, got "1"`},
		{"wait: 30", `f:1:7: wait is wrong: want a duration such as 30s or 1h30m, got "30"`},
		{"wait: 61m", `f:1:7: wait is 1h1m0s, want at most 1h`},
		{"secs: 0", `f:1:7: secs is 0, which would mean the default, 5s: leave the key out for that, or write -1 for none`},
		{"secs: 9223372037", `f:1:7: secs is 9223372037, which is out of range`},
		{"size: 10 parsecs", `f:1:7: size is wrong: want a size such as 10MiB, got "10 parsecs"`},
		{"size: 9999999TiB", `f:1:7: size is 9999999TiB, which is out of range`},
		{"size: 2GiB", `f:1:7: size is 2147483648, want at most 1GiB`},
		{"addr: here", `f:1:7: addr is wrong: not an ip:port`},
		{"list: 1", `f:1:7: list is "1", want a list`},
		{"list: [1, 6, x]", "f:1:11: list[1] is 6, want at most 5\nf:1:14: list[2] is wrong: want a whole number, got \"x\""},
		{"map: [1]", `f:1:6: map is a list, want a mapping`},
		{"map: {[1]: 2}", `f:1:7: map has a list as a key, want a name`},
		{"map: {a b: x}", `f:1:12: map."a b" is wrong: want a whole number, got "x"`},
		{"hosts: ['']", `f:1:9: hosts[0] is empty`},
		{"hosts: [{weight: 1}]", `f:1:9: hosts[0].name is missing`},
		{"hosts:\n- name: a b\n", `f:2:9: hosts[0].name has a space`},
		{"hosts:\n- {name: a, weight: 13}\n", `f:2:3: hosts[0] must not have an unlucky weight`},
		{"hosts: [{name: a b, weight: -1}]",
			"f:1:16: hosts[0].name has a space\nf:1:29: hosts[0].weight is -1, want at least 1"},
		{"hosts: &h [*h]", `f:1:12: hosts[0] is a list, want a mapping`},
		{"hosts: [&h {<<: *h}]", "f:1:9: hosts[0].name is missing\nf:1:17: hosts[0] merges itself"},
		{"hosts: [{<<: 3, name: a}]", `f:1:14: hosts[0] merges "3", want a mapping`},
		{"just text", `f:1:1: the file is "just text", want a mapping`},
		{"[1]", `f:1:1: the file is a list, want a mapping`},
		{"int: 1\n---\nint: 2", `f:2:1: a second document begins here, want one`},
		{"int: [1", `f:2:1: not valid YAML: while parsing a flow sequence: did not find expected ',' or ']'`},
		{"a: b: c", `f:1:5: not valid YAML: mapping values are not allowed in this context`},
		{"int: *none", `f:1:6: not valid YAML: unknown anchor 'none' referenced`},
		{"int: 1\ntext: é\xff", `f:2:8: is not UTF-8 text`},
		{"bool: x\nint: y\ntxt: z", `f:1:7: bool is wrong: want true or false, got "x"
f:2:6: int is wrong: want a whole number, got "y"
f:3:1: txt is not a known key, did you mean "text"?`},
	}
	for _, tt := range tests {
		err := Bind("f", []byte(tt.in), new(sample))
		if got := fmt.Sprint(err); got != tt.want {
			t.Errorf("Bind(%q):\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// bomb returns a file whose aliases stand for 10^levels values.
func bomb(levels int, merge bool) string {
	var b strings.Builder
	b.WriteString("x-0: &a0 {k: 1}\n")
	for i := range levels {
		ten := strings.Repeat(fmt.Sprintf("*a%d, ", i), 10)
		if merge {
			fmt.Fprintf(&b, "x-%d: &a%d {<<: [%s]}\n", i+1, i+1, ten)
		} else {
			fmt.Fprintf(&b, "x-%d: &a%d {l: [%s]}\n", i+1, i+1, ten)
		}
	}
	if merge {
		fmt.Fprintf(&b, "m: {<<: *a%d}\n", levels)
	} else {
		fmt.Fprintf(&b, "l: *a%d\n", levels)
	}
	return b.String()
}

// tree nests in itself.
type nested struct {
	K int            `yaml:"k"`
	L []nested       `yaml:"l"`
	M map[string]int `yaml:"m"`
}

type nestedRoot struct {
	L nested         `yaml:"l"`
	M map[string]int `yaml:"m"`
}

func TestLimits(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"aliases", bomb(9, false), "one value too many"},
		{"merge keys", bomb(9, true), "one value too many"},
		{"few aliases", bomb(4, false), ""},
		{"flow depth", "l: " + strings.Repeat("[", 20000), "exceeded max depth of 64"},
		{"block depth", "l: " + strings.Repeat("- ", 20000), "not valid YAML"},
		{"size", strings.Repeat("#", MaxFileBytes+1), "is larger than 4194304 bytes"},
		{"greatest size", strings.Repeat("#", MaxFileBytes), ""},
		{"problems", "l:\n  l: [" + strings.Repeat("x, ", 10000) + "]", "want a mapping"},
		{"unknown keys", strings.Repeat("k", 100) + ": 1\n", "is not a known key"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := Bind("f", []byte(tt.in), new(nestedRoot))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Bind = %.200v, want %q", err, tt.want)
			}
			if n := len(Problems(err)); n > MaxProblems {
				t.Errorf("%d problems, want at most %d", n, MaxProblems)
			}
		})
	}
}

func TestBindProgramErrors(t *testing.T) {
	tests := []struct {
		name string
		v    any
	}{
		{"not a pointer", sample{}},
		{"nil", nil},
		{"nil pointer", (*sample)(nil)},
		{"pointer to text", new(string)},
		{"same key twice", new(struct {
			A int `yaml:"a"`
			B int `yaml:"a"`
		})},
		{"empty key", new(struct {
			A int `yaml:",required"`
		})},
		{"unknown option", new(struct {
			A int `yaml:"a,omitempty"`
		})},
		{"unexported", new(struct {
			a int `yaml:"a"`
		})},
		{"inlined number", new(struct {
			A int `yaml:",inline"`
		})},
		{"default of bool", new(struct {
			A bool `yaml:"a" default:"true"`
		})},
		{"bad default", new(struct {
			A int `yaml:"a" default:"x"`
		})},
		{"bad unit", new(struct {
			A int `yaml:"a" unit:"s"`
		})},
	}
	for _, tt := range tests {
		if err := Bind("f", []byte("a: 1"), tt.v); err == nil || !strings.HasPrefix(err.Error(), "config: ") {
			t.Errorf("%s: Bind = %v, want an error of the program", tt.name, err)
		}
	}
	var s struct {
		A map[int]string `yaml:"a"`
		B chan int       `yaml:"b"`
	}
	if err := Bind("f", []byte("a: {1: x}"), &s); err == nil {
		t.Error("a map with numbers as keys was bound")
	}
	if err := Bind("f", []byte("b: 1"), &s); err == nil {
		t.Error("a channel was bound")
	}
}

func TestNearest(t *testing.T) {
	known := []string{"threads", "user", "group", "max_retries"}
	tests := []struct{ in, want string }{
		{"thread", "threads"}, {"theads", "threads"}, {"htreads", "threads"}, {"threads", "threads"},
		{"Max-Retries", "max_retries"}, {"usr", "user"}, {"u", ""}, {"", ""}, {"working", ""},
		{strings.Repeat("user", 100), ""},
	}
	for _, tt := range tests {
		if got := nearest(tt.in, known); got != tt.want {
			t.Errorf("nearest(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

// FuzzBind checks that no input is too much, and that what Bind takes it takes
// in the same way again when it is written out plainly.
func FuzzBind(f *testing.F) {
	for _, s := range []string{"", "int: 3", "size: 10MiB\nwait: 1h", "list: [1, &a 2, *a]", "<<: {int: 1}",
		"map: {a: 1}", "hosts: [a, {name: b}]", "x-a: &a {name: c}\nhosts: [*a, {<<: *a}]", bomb(3, true),
		"int: 0x1_0", "secs: 0", "? [a]\n: b", "a: !!binary x", "text: |\n  a\n  b", "ptr: 3", "float: 1e3"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var got sample
		err := Bind("f", in, &got)
		if err != nil {
			list := Problems(err)
			if len(list) == 0 || len(list) > MaxProblems {
				t.Fatalf("%d problems in %v", len(list), err)
			}
			for _, p := range list {
				if p.File != "f" || p.Line < 0 || p.Column < 0 || p.Msg == "" || len(p.Error()) > 4096 {
					t.Errorf("problem %#v", p)
				}
			}
			return
		}
		if found := checkTags(&got); len(found) != 0 {
			t.Errorf("%q was accepted with %v", in, found.join())
		}
		again := got
		text := fmt.Sprintf("text: %q\nint: %d\nint8: %d\nuint: %d\nbig: %d\nbool: %t\nwait: %v\nsecs: %v\nsize: %d\n",
			plain(got.Text), got.Int, got.Int8, got.Uint, got.Big, got.Bool, got.Wait, got.Pause, got.Size)
		if err := Bind("f", []byte(text), &again); err != nil {
			t.Fatalf("%q, written as %q: %v", in, text, err)
		}
		again.Text = got.Text
		if !reflect.DeepEqual(again, got) {
			t.Errorf("%q is read as %+v, written out as %+v", in, got, again)
		}
	})
}

// plain returns s without what is quoted differently in Go and in YAML.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, s)
}

func FuzzParseSize(f *testing.F) {
	for _, s := range []string{"1", "10MiB", "1.5 GB", "-3kB", "", "B", "1e9B", "9223372036854775807B", "8388608TiB"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		n, err := parseInt(in, "bytes")
		if err != nil {
			return
		}
		if again, err := parseInt(fmt.Sprint(n, "B"), "bytes"); err != nil || again != n {
			t.Errorf("%q is %d bytes, but %d, %v when written so", in, n, again, err)
		}
	})
}
