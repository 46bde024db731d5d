// Package netlab runs containerlab topology files (*.clab.yml) without
// containerlab, Docker or root: every node is a set of namespaces on this
// machine and runs the programs installed here.
//
// It decides how a topology becomes namespaces, links and processes, and owns
// all of them until Down. It never touches the network, the files or the
// system services of the host: a node sees the host's files read-only, with
// /etc, /var, /run and /tmp of its own.
//
// # Use
//
// A program that runs labs calls Init first thing in main, because a node's
// PID 1 is a re-execution of the same binary:
//
//	func main() {
//		netlab.Init(serve.Tools()...)           // returns unless this is a node's init or one of the tools
//		if err := netlab.Enter(); err != nil {  // not root: re-executes inside a user namespace
//			log.Fatal(err)                      // says what to do where user namespaces are forbidden
//		}
//		topo, err := netlab.Load("lab/two-pops.clab.yml", nil)
//		lab, err := netlab.Up(ctx, topo, netlab.Options{Bin: "bin"})
//		defer lab.Down()
//		out, err := lab.Exec(ctx, "client", "ping", "-c1", "192.0.2.1")
//	}
//
// Tests have the same in one line:
//
//	func TestMain(m *testing.M) { netlab.Main(m, serve.Tools()...) }
//
// # What a Lab can do
//
//	Exec(ctx, node, argv...)        run a command, get its output; an *ExitError when it fails
//	Start(node, Command)            run one in the background: a Process with Pid, Signal, Wait, Done
//	Signal(node, who, sig)          by process name, "pid:N" or "pidfile:/run/x.pid" (SIGKILL, SIGSTOP, ...)
//	SetLink(node, dev, up)          cut and mend a cable
//	Freeze, Thaw(node)              stop and continue every process of a node
//	Crash(node), Boot(node)         power off (links down, all killed) and on again
//	Routes(node, prefix)            what the kernel of the node would use
//	WatchRoutes(ctx, node)          each change of them, with its time
//	Inspect(), Log(node), LogFile(node)
//	Down()                          ends everything; nothing is left, also after a crash of the caller
//
// # Labs that outlive a command
//
//	name, err := netlab.Keep(ctx, file, vars, opt)  a process in the background holds the lab
//	names, err := netlab.Labs()                     those of this user
//	c, err := netlab.Connect(name)                  then c.Exec, c.Inspect, c.Signal, c.Do, c.Down
//
// The story scripts of lab/testdata are run by package story.
//
// # What of the schema is understood
//
// name, prefix, mgmt (ignored), topology with defaults, kinds, groups, nodes
// and links. A node has kind (linux or bridge), group, image, binds, exec,
// env, sysctls, entrypoint, cmd; labels, privileged, cap-add,
// image-pull-policy, network-mode and mgmt-ipv4/6 are accepted and ignored. A
// link has endpoints, mtu, vars and labels; vars delay, rate, loss and queue
// make it a wire (package wire). ${NAME} and ${NAME:-default} are replaced
// from the given variables and the environment, __clabNodeName__ in binds and
// exec by the node's name. Every other key is refused.
//
// An image "catchment/frr:lab" is the folder "frr" below Options.Images. From
// its Dockerfile netlab reads ENV, COPY, ENTRYPOINT and CMD; RUN and FROM are
// what the host must already have installed.
//
// Commands of exec that are plain `ip addr add`, `ip route add` and `ip link
// set` are done by netlab itself, so that a machine without iproute2 will do.
package netlab
