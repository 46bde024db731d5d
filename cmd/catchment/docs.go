package main

import (
	"embed"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/cpuguy83/go-md2man/v2/md2man"
	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// pages are the manual pages that no command line is behind.
//
//go:embed docs/*.md
var pages embed.FS

// docsCommand is for `make docs`.
func (a *app) docsCommand() *cobra.Command {
	var reference string
	cmd := &cobra.Command{
		Use:     "docs FOLDER",
		Short:   "Write the manual pages and shell completions",
		Example: "  catchment docs bin/docs --reference configs/reference.yaml",
		Args:    cobra.ExactArgs(1),
		Hidden:  true,
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(reference)
			if err != nil {
				return err
			}
			date, err := sourceDate()
			if err != nil {
				return err
			}
			man, completions := filepath.Join(args[0], "man"), filepath.Join(args[0], "completions")
			for _, dir := range []string{man, completions} {
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
				if err := os.MkdirAll(dir, 0o755); err != nil {
					return err
				}
			}
			if err := writePages(cmd.Root(), man, string(text), date); err != nil {
				return err
			}
			return writeCompletions(cmd.Root(), completions)
		},
	}
	cmd.Flags().StringVar(&reference, "reference", "configs/reference.yaml", "the annotated configuration")
	return cmd
}

// sourceDate is the date of the pages, so that the same source gives the same.
func sourceDate() (time.Time, error) {
	s := os.Getenv("SOURCE_DATE_EPOCH")
	if s == "" {
		return time.Now().UTC(), nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(n, 0).UTC(), nil
}

func writePages(root *cobra.Command, dir, reference string, date time.Time) error {
	root.DisableAutoGenTag = true
	describeAll(root)
	head := doc.GenManHeader{Section: "1", Date: &date, Source: "Catchment", Manual: "Catchment"}
	if err := doc.GenManTree(root, &head, dir); err != nil {
		return err
	}
	if err := addExitStatus(root, dir); err != nil {
		return err
	}
	files, err := pages.ReadDir("docs")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := pages.ReadFile("docs/" + f.Name())
		if err != nil {
			return err
		}
		page := strings.TrimSuffix(f.Name(), ".md") // catchmentd.8
		name, section := strings.TrimSuffix(page, filepath.Ext(page)), strings.TrimPrefix(filepath.Ext(page), ".")
		title := fmt.Sprintf("%% %q %q %q %q %q\n", strings.ToUpper(name), section, date.Format("Jan 2006"), "Catchment", "Catchment")
		body := strings.ReplaceAll(string(text), "    @REFERENCE@\n", indent(reference))
		if err := os.WriteFile(filepath.Join(dir, page), md2man.Render([]byte(title+body)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// addExitStatus puts a section into the pages of root and of our own commands.
func addExitStatus(c *cobra.Command, dir string) error {
	if c.GroupID == gobgpGroup || !c.IsAvailableCommand() && c.HasParent() {
		return nil
	}
	file := filepath.Join(dir, strings.ReplaceAll(c.CommandPath(), " ", "-")+".1")
	page, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	const next = "\n.SH SEE ALSO"
	before, after, ok := strings.Cut(string(page), next)
	text := strings.TrimRight(before, "\n") + "\n\n" + exitStatusMan()
	if ok {
		text += next + after
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		return err
	}
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || sub.Name() == "completion" {
			continue
		}
		if err := addExitStatus(sub, dir); err != nil {
			return err
		}
	}
	return nil
}

// describeAll gives every page a line for apropos: some of gobgp's words have
// no description.
func describeAll(c *cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.Short == "" {
			sub.Short = "what gobgp" + strings.TrimPrefix(sub.CommandPath(), sub.Root().Name()) + " does"
		}
		describeAll(sub)
	}
}

// indent makes a literal block of text.
func indent(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("    " + line)
	}
	return b.String()
}

func writeCompletions(root *cobra.Command, dir string) error {
	if err := root.GenBashCompletionFileV2(filepath.Join(dir, "catchment.bash"), true); err != nil {
		return err
	}
	if err := root.GenZshCompletionFile(filepath.Join(dir, "catchment.zsh")); err != nil {
		return err
	}
	return root.GenFishCompletionFile(filepath.Join(dir, "catchment.fish"), true)
}
