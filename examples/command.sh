#!/bin/sh
# Any program is an agent: the message comes on standard input, the answer goes to standard output.
# hive run -- ./command.sh      then:  hive call command "some words to count"
words=$(wc -w)
echo "You sent ${words} words."
