// What scripts/cluster calls: a test cluster that stays up, for people.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	cluster "ferrolb.io/tests/cluster"
)

// name is the cluster of which there is one. Those of tests have other names.
const name = "up"

const usage = `usage: scripts/cluster up [--nodes N] [--api]   start a cluster and leave it running
       scripts/cluster shell [-- COMMAND...]     a shell (or a command) on the laptop, with kubectl and credentials
       scripts/cluster status                    what is up, and how much memory it takes
       scripts/cluster down                      remove it
       scripts/cluster test [GO TEST FLAGS...]   the tests that need a cluster; each has its own

up makes three nodes that run pods. With --api nodes are bare network namespaces and nothing runs pods: up in seconds.
`

func main() {
	commands := map[string]func([]string) error{"up": up, "shell": shell, "status": status, "down": down}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := commands[os.Args[1]](os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

func up(args []string) error {
	flags := flag.NewFlagSet("up", flag.ExitOnError)
	flags.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	nodes := flags.Int("nodes", 3, "")
	api := flags.Bool("api", false, "")
	ferrolb := flags.String("ferrolb", "", "a static ferrolb binary")
	manifests := flags.String("manifests", "", "the manifests of FerroLB, with commas")
	_ = flags.Parse(args)
	if flags.NArg() > 0 {
		return fmt.Errorf("what is %q?\n%s", flags.Arg(0), usage)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer cancel()
	begin := time.Now()
	c, err := cluster.Start(ctx, cluster.Options{Nodes: *nodes, Pods: !*api, Detached: name, Say: say})
	if err != nil {
		return err
	}
	say("up after %v", time.Since(begin).Round(100*time.Millisecond))
	if *manifests != "" {
		if err := c.Install(ctx, *ferrolb, strings.Split(*manifests, ",")...); err != nil {
			return fmt.Errorf("the cluster is up, but FerroLB is not: %w", err)
		}
	}
	return describe(c)
}

func describe(c *cluster.Cluster) error {
	for _, node := range c.Nodes() {
		fmt.Printf("%-8s %s %s\n", node.Name, node.IPv4, node.IPv6)
	}
	laptop := c.Laptop()
	fmt.Printf("%-8s %s %s\n\n", laptop.Name, laptop.IPv4, laptop.IPv6)
	fmt.Printf("The cluster's network is its own: work on the laptop, by scripts/cluster shell [-- COMMAND...]. There:\n")
	fmt.Printf("  KUBECONFIG=%s\n  kubectl   %s\n", c.Kubeconfig(), c.Assets["kubectl"])
	fmt.Printf("To look inside a node: nsenter --all --target PID sh")
	for _, node := range c.Nodes() {
		fmt.Printf(", %s is %d", node.Name, node.PID())
	}
	fmt.Printf("\nLogs: %s\n", c.Logs())
	return nil
}

func status([]string) error {
	c, err := cluster.Attach(name)
	if err != nil {
		return err
	}
	if err := describe(c); err != nil {
		return err
	}
	var sum int64
	fmt.Println()
	for _, use := range c.Memory() {
		fmt.Printf("%-14s %-26s %5d MB\n", use.Machine, use.Program, use.Bytes>>20)
		sum += use.Bytes
	}
	fmt.Printf("%-41s %5d MB, shared pages counted once\n", "in all", sum>>20)
	return nil
}

func down([]string) error {
	found, err := cluster.Remove(name)
	if err == nil && !found {
		say("nothing was up")
	}
	return err
}

// shell becomes a program on the laptop. It keeps the files, processes and user of the caller.
func shell(args []string) error {
	c, err := cluster.Attach(name)
	if err != nil {
		return err
	}
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		args = []string{"bash"}
		say("you are on the laptop, %s; kubectl is in PATH; leave by exit", c.Laptop().IPv4)
	}
	os.Setenv("KUBECONFIG", c.Kubeconfig())
	os.Setenv("PATH", filepath.Dir(c.Assets["kubectl"])+":"+os.Getenv("PATH")+":/usr/sbin:/sbin")
	runtime.LockOSThread()
	return c.Laptop().Become(args)
}
