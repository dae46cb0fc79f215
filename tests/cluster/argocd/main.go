// Argo CD's application controller and repository server in one binary that acts by the name it is called by.
//
// Argo CD is published as a Go module, so this is the real thing that syncs the first user's repository. Its web server and its other programs are left
// out: they show what these two do. It is a module of its own because it compiles for minutes and hardly ever changes.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	controller "github.com/argoproj/argo-cd/v3/cmd/argocd-application-controller/commands"
	reposerver "github.com/argoproj/argo-cd/v3/cmd/argocd-repo-server/commands"
	"github.com/spf13/cobra"
)

var programs = map[string]func() *cobra.Command{
	"argocd-application-controller": controller.NewCommand,
	"argocd-repo-server":            reposerver.NewCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	program, known := programs[name]
	if !known {
		fmt.Fprintf(os.Stderr, "%s: call me argocd-application-controller or argocd-repo-server\n", name)
		os.Exit(2)
	}
	if err := program().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
