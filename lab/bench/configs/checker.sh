#!/bin/sh
# What operators put beside BIRD: ask, count, enable or disable the route.
good=0 bad=0 state=down
while :; do
	if curl -sf -o /dev/null -m {{whole .Timeout}} {{.URL}}; then
		good=$((good + 1)) bad=0
	else
		good=0 bad=$((bad + 1))
	fi
	if [ $state = down ] && [ $good -ge {{.Rise}} ]; then
		birdc -s /run/checker.ctl enable service >/dev/null && state=up
	elif [ $state = up ] && [ $bad -ge {{.Fall}} ]; then
		birdc -s /run/checker.ctl disable service >/dev/null && state=down
	fi
	sleep {{seconds .Interval}}
done
