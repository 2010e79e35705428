# Hashes, arrays, regular expressions, sorting, closures, references, and a fork.
use strict;
use warnings;

my (%count, @words);
for my $i (0 .. 200_000) {
    my $word = sprintf 'w%x', $i * 7919 % 5003;
    $count{$word}++;
    push @words, $word x ($i % 5) if $i % 3 == 0;
}
my $text = join ' ', @words;
my $matches = () = $text =~ /\bw(\w)\1/g;
printf "%d %d %d %d\n", scalar(keys %count), scalar(@words), length $text, $matches;
(my $other = $text) =~ s/w([0-9a-f]+)/<$1>/g;
print length $other, "\n";
print join(' ', (sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count)[0 .. 9]), "\n";

my $tree;
for my $i (map { $_ * 40_503 % 65_536 } 1 .. 30_000) {
    my $node = \$tree;
    $node = $i < $$node->{key} ? \$$node->{left} : \$$node->{right} while $$node;
    $$node = { key => $i };
}
sub depth {
    my $node = shift or return 0;
    my ($left, $right) = (depth($node->{left}), depth($node->{right}));
    return 1 + ($left > $right ? $left : $right);
}
print depth($tree), "\n";
my @closures = map { my $n = $_; sub { $n += shift } } 1 .. 10_000;
my $sum = 0;
$sum += $_->(3) for @closures, @closures;
print "$sum\n";
$| = 1;
for my $child (1 .. 5) {
    my $pid = fork // die;
    if (!$pid) {
        delete @count{ grep { /$child/ } keys %count };
        undef $tree;
        print "child $child: ", scalar(keys %count), "\n";
        exit 0;
    }
    waitpid $pid, 0;
    die if $?;
}
