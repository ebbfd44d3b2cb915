// Judges histories of a store: reads them as JSON from stdin, writes verdicts as JSON to stdout.
//
// A history is a list of operations on one object, each with the time of its call and of its
// return. Porcupine looks for an order of them that agrees with these times and with the model.
// An operation without an outcome may take effect at any time after its call, or at the very end.
package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// Op is one operation. Return is 0 if there was no answer; Outcome is empty then.
type Op struct {
	Op      string            `json:"op"`
	Call    int64             `json:"call"`
	Return  int64             `json:"return"`
	Client  int               `json:"client"`
	Key     string            `json:"key"`
	Outcome string            `json:"outcome"`
	Expect  string            `json:"expect"` // any, absent or entry
	Old     Entry             `json:"old"`    // the expected one
	New     Entry             `json:"new"`    // what was written or read
	Token   int64             `json:"token"`
	Session string            `json:"session"` // that has ended
	Found   map[string]string `json:"found"`   // a whole tree
}

// Entry is a value with its revision; 0 if that is not known.
type Entry struct {
	Value    string `json:"value"`
	Revision int64  `json:"revision"`
	Session  string `json:"session"`
}

// State is that of one key, and of the election whose terms may write it.
type State struct {
	Present bool
	Entry
	Holder int64 // token of the term that stands, or 0
}

type history struct {
	Name  string `json:"name"`
	Model string `json:"model"` // key or tree
	Ops   []Op   `json:"ops"`
}

type verdict struct {
	Name       string `json:"name"`
	Result     string `json:"result"`
	Operations int    `json:"operations"`
	Story      string `json:"story"`
}

func (s State) is(e Entry) bool {
	return s.Present && s.Value == e.Value && s.Session == e.Session &&
		(s.Revision == 0 || e.Revision == 0 || s.Revision == e.Revision)
}

func (s State) matches(op Op) bool {
	switch op.Expect {
	case "absent":
		return !s.Present
	case "entry":
		return s.is(op.Old)
	}
	return true
}

func (s State) with(e Entry) State {
	return State{Present: true, Entry: e, Holder: s.Holder}
}

func (s State) without() State {
	return State{Holder: s.Holder}
}

// stepKey says whether an operation is possible in a state, and what the state is then.
func stepKey(s State, op Op) (bool, State) {
	switch op.Op {
	case "get":
		if op.Outcome == "absent" {
			return !s.Present, s
		}
		if !s.is(op.New) {
			return false, s
		}
		return true, s.with(op.New)
	case "put":
		stands := op.Token == 0 || s.Holder == op.Token
		switch op.Outcome {
		case "done":
			return stands && s.matches(op), s.with(op.New)
		case "fenced":
			return !stands, s
		case "conflict":
			return !s.matches(op), s
		}
		if stands && s.matches(op) {
			return true, s.with(op.New)
		}
		return true, s
	case "delete":
		switch op.Outcome {
		case "done":
			return s.Present && s.matches(op), s.without()
		case "absent":
			return !s.Present, s
		case "conflict":
			return s.Present && !s.matches(op), s
		}
		if s.matches(op) {
			return true, s.without()
		}
		return true, s
	case "wipe": // whatever is there
		return true, s.without()
	case "end": // of a session
		if s.Present && s.Session == op.Session {
			return true, s.without()
		}
		return true, s
	case "acquire":
		s.Holder, op.Token = op.Token, s.Holder
		return op.Token == 0, s
	case "release":
		if s.Holder == op.Token {
			s.Holder = 0
		}
		return true, s
	case "leader":
		return s.Holder == op.Token, s
	}
	panic("no such operation: " + op.Op)
}

// stepTree does the same for all keys of a tree at once, which a state has in one string.
func stepTree(tree string, op Op) (bool, string) {
	there := parse(tree)
	value, present := there[op.Key]
	_ = value
	switch op.Op {
	case "put":
		there[op.Key] = op.New.Value
	case "delete":
		switch op.Outcome {
		case "done":
			if !present {
				return false, tree
			}
		case "absent":
			return !present, tree
		}
		delete(there, op.Key)
	case "wipe":
		there = map[string]string{}
	case "list":
		return format(op.Found) == tree, tree
	default:
		panic("no such operation: " + op.Op)
	}
	return true, format(there)
}

func parse(tree string) map[string]string {
	there := map[string]string{}
	for _, pair := range strings.Fields(tree) {
		key, value, _ := strings.Cut(pair, "=")
		there[key] = value
	}
	return there
}

func format(there map[string]string) string {
	var pairs []string
	for key, value := range there {
		pairs = append(pairs, key+"="+value)
	}
	sort.Strings(pairs)
	return strings.Join(pairs, " ")
}

var keyModel = porcupine.Model{
	Init: func() interface{} { return State{} },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		return stepKey(state.(State), input.(Op))
	},
	DescribeOperation: func(input, output interface{}) string { return describe(input.(Op)) },
}

var treeModel = porcupine.Model{
	Init: func() interface{} { return "" },
	Step: func(state, input, output interface{}) (bool, interface{}) {
		return stepTree(state.(string), input.(Op))
	},
	DescribeOperation: func(input, output interface{}) string { return describe(input.(Op)) },
}

func describe(op Op) string {
	text, _ := json.Marshal(op)
	return string(text)
}

func judge(h history, limit time.Duration) verdict {
	model := keyModel
	if h.Model == "tree" {
		model = treeModel
	}
	var operations []porcupine.Operation
	for _, op := range h.Ops {
		end := op.Return
		if end == 0 {
			end = math.MaxInt64
		}
		operations = append(operations, porcupine.Operation{
			ClientId: op.Client, Input: op, Call: op.Call, Output: nil, Return: end,
		})
	}
	result, info := porcupine.CheckOperationsVerbose(model, operations, limit)
	found := verdict{Name: h.Name, Result: strings.ToLower(string(result)), Operations: len(h.Ops)}
	if result == porcupine.Illegal {
		found.Story = story(h, info)
	}
	return found
}

// story tells how far a longest order got, and which operations do not fit behind it.
func story(h history, info porcupine.LinearizationInfo) string {
	longest := []int{}
	for _, partials := range info.PartialLinearizations() {
		for _, one := range partials {
			if len(one) > len(longest) {
				longest = one
			}
		}
	}
	placed := map[int]bool{}
	for _, id := range longest {
		placed[id] = true
	}
	var lines []string
	for _, id := range longest[max(0, len(longest)-8):] {
		lines = append(lines, "fits: "+describe(h.Ops[id]))
	}
	var rest []Op
	for id, op := range h.Ops {
		if !placed[id] && op.Return != 0 {
			rest = append(rest, op)
		}
	}
	sort.Slice(rest, func(a, b int) bool { return rest[a].Return < rest[b].Return })
	for _, op := range rest[:min(4, len(rest))] {
		lines = append(lines, "does not: "+describe(op))
	}
	return strings.Join(lines, "\n")
}

func main() {
	var asked struct {
		Seconds   float64   `json:"seconds"` // for each history
		Histories []history `json:"histories"`
	}
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		fmt.Fprintln(os.Stderr, "cannot read the histories:", err)
		os.Exit(2)
	}
	found := []verdict{}
	limit := time.Duration(asked.Seconds * float64(time.Second))
	for _, h := range asked.Histories {
		found = append(found, judge(h, limit))
	}
	if err := json.NewEncoder(os.Stdout).Encode(found); err != nil {
		os.Exit(2)
	}
}
