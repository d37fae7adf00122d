# SPDX-License-Identifier: BSD-2-Clause
#
# libconncount(3) out of conncount.h, whose doc blocks are its one source, and of its examples:
#	awk -f libconncount.awk conncount.h libconncount.mdoc >libconncount.3
#
# A line that begins a comment of `--- TITLE ---` begins a subsection. A comment is the text of
# the declarations behind it, up to an empty line; in it, an empty line ends a paragraph, and
# `@NAME: TEXT` describes an argument.

function escape(text)
{
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	if (text ~ /^[.']/)
		text = "\\\\&" text
	return text
}

function capital(text)
{
	return toupper(substr(text, 1, 1)) substr(text, 2)
}

# A sentence begins a line; `this` is quoted, @this an argument.
function prose(text)
{
	text = escape(text)
	gsub(/\. /, ".\n", text)
	while (match(text, /`[^`]*`/))
		text = substr(text, 1, RSTART - 1) "\\(oq" \
			substr(text, RSTART + 1, RLENGTH - 2) "\\(cq" substr(text, RSTART + RLENGTH)
	while (match(text, /@[a-z_]+/))
		text = substr(text, 1, RSTART - 1) "\\fI" substr(text, RSTART + 1, RLENGTH - 1) \
			"\\fR" substr(text, RSTART + RLENGTH)
	return text
}

function end_list()
{
	if (in_list)
		print ".El"
	in_list = 0
}

# Print the comment gathered in lines[1..n].
function print_comment(   i, text)
{
	for (i = 1; i <= n; i++) {
		text = lines[i]
		if (text == "") {
			end_list()
			print ".Pp"
		} else if (match(text, /^@[a-z_0-9]+(, @[a-z_0-9]+)*: */)) {
			if (!in_list)
				print ".Bl -tag -width Ds"
			in_list = 1
			name = substr(text, 1, RLENGTH)
			gsub(/[@: ]/, "", name)
			gsub(/,/, " , ", name)
			print ".It Fa " name
			print prose(substr(text, RLENGTH + 1))
		} else {
			sub(/^ +/, "", text)
			print prose(text)
		}
	}
	end_list()
	n = 0
}

function end_code()
{
	if (in_code)
		print ".Ed"
	if (in_code && n) {
		print ".Pp"
		print_comment()
	}
	in_code = 0
}

BEGIN {
	print ".\\\" Made from conncount.h by libconncount.awk: change it there."
	print ".Dd November 24, 2026\n.Dt LIBCONNCOUNT 3\n.Os conncount"
	print ".Sh NAME\n.Nm libconncount"
	print ".Nd ask how many inbound TCP sessions are open right now"
	print ".Sh LIBRARY\nlibconncount (\\-lconncount), pkg\\-config: conncount"
	print ".Sh SYNOPSIS\n.In conncount.h\n.Sh DESCRIPTION"
}

# The examples are mdoc already.
FILENAME ~ /\.mdoc$/ {
	if (FNR == 1)
		end_code()
	print
	next
}

# What is for the compiler alone, and the file's own name.
/^#(if|ifdef|ifndef|endif|include)/ || /SPDX/ || /^#define CONNCOUNT_H$/ { next }
/^struct sockaddr;$/ || /^extern "C" \{/ || /^}$/ || /^ \* conncount\.h - / { next }

/^\/\* --- .* -+ \*\/$/ {
	end_code()
	sub(/^\/\* --- /, "")
	sub(/ -+ \*\/$/, "")
	print ".Ss " capital($0)
	next
}

!in_code && /^\/\*/ { in_comment = 1; n = 0 }

in_comment {
	last = / \*\/$/ || /^\/\*.*\*\/$/
	gsub(/^ ?\/?\*+ ?|^ \*\/$| ?\*\/$/, "")
	if (sub(/^conncount_[a-z_]*\(\) - /, ""))
		$0 = capital($0)
	if (!(n == 0 && $0 == "") && !(last && $0 == ""))
		lines[++n] = $0
	if (last)
		in_comment = 0
	if (last && !described) {
		print_comment()
		described = 1
	}
	next
}

/^$/ { end_code(); next }

{
	if (!in_code) {
		print ".Bd -literal -offset indent"
		in_code = 1
	}
	sub(/^\t\t+/, "        ")
	sub(/^\t/, "    ")
	print escape($0)
}

END {
	end_code()
	print ".Sh SEE ALSO\n.Xr conncount 1 ,\n.Xr conncount\\-lua 3"
}
