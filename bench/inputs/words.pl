# Hashes, lists of lists, strings that grow, sorts and regular expressions; prints checksums.
use strict;
use warnings;

my (%count, %places, @lines);
my $random = 42;
sub next_random { $random = ($random * 1103515245 + 12345) % 2147483648; return $random >> 8 }

for my $line (1 .. 25000) {
    my @words = map { 'word' . next_random() % 20011 } 1 .. 8;
    push @lines, join ' ', @words;
    for my $place (0 .. $#words) {
        $count{$words[$place]}++;
        push @{$places{$words[$place]}}, [$line, $place];
    }
}
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } keys %count;
print scalar(@sorted), " @sorted[0 .. 9]\n";

my $sum = 0;
for my $word (@sorted) {
    $sum = ($sum * 31 + $_->[0] * 8 + $_->[1]) % 1000000007 for @{$places{$word}};
}
print "$sum\n";

my %by_prefix;
for my $line (@lines) {
    while ($line =~ /word(\d)(\d*)/g) { $by_prefix{$1} .= "$2," }
}
print "$_ ", length $by_prefix{$_}, ' ', unpack('%32C*', $by_prefix{$_}), "\n"
    for sort keys %by_prefix;

%places = ();
my @again = sort map { scalar reverse } map { split ' ' } @lines;
print "$again[0] $again[-1] ", scalar(@again), "\n";
