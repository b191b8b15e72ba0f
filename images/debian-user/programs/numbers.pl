# Numbers, strings and regular expressions in Perl.
use strict;
use warnings;
use Math::BigInt;
use Math::BigFloat;
my $x = 1;
my $sum = 0;
for my $i (1 .. 100000) {
  $x = ($x * 1103515245 + 12345) % 2147483648;
  $sum += sqrt($x) / $i + ($x & 255) * 0.125;
}
printf "%.15g %d\n", $sum, $x;
printf "%.15g %.15g %.15g %.15g %.15g\n", map { sin($_) * exp(-$_) + atan2($_, 3) + log($_ + 1) } 1 .. 5;
print Math::BigInt->new(2)->bpow(521)->bsub(1), "\n", Math::BigInt->new(100)->bfac, "\n";
print Math::BigFloat->new(2)->bsqrt(60), "\n";
my %count;
my $text = join ' ', map { $_ * $_ % 977 } 1 .. 20000;
$count{$1}++ while $text =~ /\b(\d\d?\d?)\b/g;
print join(',', map { "$_:$count{$_}" } (sort { $count{$b} <=> $count{$a} || $a <=> $b } keys %count)[0 .. 9]), "\n";
print unpack('H*', pack('d< f< q< n N v V w', 3.25, -0.1, -5, 1, 2, 3, 4, 300)), "\n";
print join(' ', sort { $a <=> $b } map { int(1e6 * abs(sin $_)) } 1 .. 30), "\n";
