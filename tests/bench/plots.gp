# SPDX-License-Identifier: BSD-2-Clause
# plots.gp - plots what tests/bench/report has written to the current directory.

set terminal svg size 720,400 font 'sans-serif,12' background '#ffffff'
set grid
set key top left
set border 3
set tics nomirror
set style data linespoints
set rmargin 4

set output 'sessions.svg'
set title 'A connection, and a question, against how many sessions are live'
set xlabel 'live sessions, from random addresses'
set ylabel 'microseconds'
set logscale x
set yrange [0:*]
plot 'sessions.dat' using 1:($2/1e3) title 'our programs, IPv4 connection' lw 2 pt 7 ps 0.5, \
	'' using 1:($3/1e3) title 'our programs, IPv6 connection' lw 2 pt 7 ps 0.5, \
	'' using 1:($4/1e3) title 'count of a /24' lw 2 pt 5 ps 0.5, \
	'' using 1:($5/1e3) title 'count of a /64' lw 2 pt 5 ps 0.5

set output 'lengths.svg'
set title 'A question, against the prefix length'
set xlabel 'prefix length'
unset logscale x
set key top right
set logscale y
set yrange [*:*]
set ylabel 'microseconds'
set xtics 8
plot 'lengths.dat' index 0 using 1:($2/1e3) title 'IPv4, median' lw 2 pt 7 ps 0.4, \
	'' index 0 using 1:($3/1e3) title 'IPv4, worst network' lw 1 pt 7 ps 0.4, \
	'' index 1 using 1:($2/1e3) title 'IPv6, median' lw 2 pt 5 ps 0.4, \
	'' index 1 using 1:($3/1e3) title 'IPv6, worst network' lw 1 pt 5 ps 0.4
