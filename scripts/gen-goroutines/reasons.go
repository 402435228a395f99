package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
)

// readReasons gives the texts of runtime.waitReason in the order of its numbers.
func readReasons(version string) ([]string, error) {
	root, err := run(version, "amd64", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "src/runtime/runtime2.go"), nil, 0)
	if err != nil {
		return nil, err
	}
	var names []string
	texts := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		switch {
		case len(names) > 0 && spec.Type == nil && len(spec.Values) == 0: // goes on with iota
			names = append(names, spec.Names[0].Name)
		case spec.Names[0].Name == "waitReasonZero":
			names = []string{"waitReasonZero"}
		case spec.Names[0].Name == "waitReasonStrings":
			for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
				pair := e.(*ast.KeyValueExpr)
				text, err := strconv.Unquote(pair.Value.(*ast.BasicLit).Value)
				if err == nil {
					texts[pair.Key.(*ast.Ident).Name] = text
				}
			}
		}
		return true
	})
	if len(names) == 0 || len(names) != len(texts) {
		return nil, errors.New("wait reasons are not declared as they were")
	}
	var reasons []string
	for _, name := range names {
		reasons = append(reasons, texts[name])
	}
	return reasons, nil
}
