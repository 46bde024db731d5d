// Package story runs the scripts of lab/testdata: what is done to a lab, and
// what must then be seen.
//
// It decides whether a story was seen, and owns the lab it brings up. It
// knows nothing of Catchment: what it looks at are commands' output, kernel
// routes and answers to requests.
//
// # A script
//
// One command a line; # begins a comment; words may be quoted as in a shell;
// ${NAME} is a variable of the variant. [NAME=value] or [NAME!=value] before
// a command makes it count only then.
//
//	variants ROUTER=frr ; ROUTER=bird       the story is run once for each
//	up FILE                                 bring up a topology, relative to the script
//	exec NODE CMD...                        must succeed; "! exec" must fail
//	expect NODE CMD... => /RE/ within 5s    output must come to match (!> must come not to)
//	hold NODE CMD... => /RE/ for 3s         output must match all the time (!> must never)
//	route NODE PREFIX [via IP[,IP]] within 5s       in the kernel, these next hops
//	noroute NODE PREFIX within 5s
//	keeproute NODE PREFIX [via IP[,IP]] for 3s
//	start NODE CMD...                       in the background
//	kill|term|stop|cont|usr2|hup NODE WHO   a signal, by name, pid:N or pidfile:PATH
//	freeze|thaw|crash|boot NODE             all processes of a node; power
//	link NODE:DEV up|down
//	fetch NAME NODE URL [every 20ms] [timeout 500ms] [again 1]   requests from
//	                                        now on; again: as browsers do, a request whose
//	                                        connection breaks is asked once more at once
//	answered NAME POP[,POP] within 5s       the newest answers are good and from these
//	seen NAME POP[,POP] within 5s           each of them has answered since the mark
//	mark NAME                               failures count from here
//	nofail NAME                             no request failed since the mark, and some were made
//	fails NAME within 5s                    the newest requests failed
//	wait 2s                                 for rules that are themselves a time
//	say TEXT
package story

import "time"

// stepLimit is the longest a command without a time of its own may take.
const stepLimit = 30 * time.Second
