/** Integer and system opcodes of the 0F and 0F 38 maps (SDM vol. 2, tables, groups 6..9, 15, 16, P). */

/** 0F 18..1F: hint space. What is not a named hint is an architectural NOP with a ModRM byte (SDM vol. 2, "NOP"). */
const HINTS = `
@sse
0F 18 /0 | prefetchnta | Mb |
0F 18 /1 | prefetcht0 | Mb |
0F 18 /2 | prefetcht1 | Mb |
0F 18 /3 | prefetcht2 | Mb |
@
F3 0F 1E FA | endbr64 | |
F3 0F 1E FB | endbr32 | |
0F 18 /r | nop | Ev,Gv |
0F 19 /r | nop | Ev,Gv |
0F 1A /r | nop | Ev,Gv |
0F 1B /r | nop | Ev,Gv |
0F 1C /r | nop | Ev,Gv |
0F 1D /r | nop | Ev,Gv |
0F 1E /r | nop | Ev,Gv |
0F 1F /0 | nop | Ev |
0F 1F /r | nop | Ev,Gv |
@3dnowprefetch
0F 0D /0 | prefetch | Mb |
0F 0D /1 | prefetchw | Mb |
0F 0D /2 | prefetchwt1 | Mb |
0F 0D /3 | prefetchw | Mb |
0F 0D /r | prefetch | Mb |
@
0F 0D /r | nop | Ev,Gv |
`;

export const TWO_BYTE_OPCODES = `
${HINTS}
0F 00 /0 | sldt | RvMw |
0F 00 /1 | str | RvMw |
0F 00 /2 | lldt | Ew | cpl0
0F 00 /3 | ltr | Ew | cpl0
0F 00 /4 | verr | Ew | w=z
0F 00 /5 | verw | Ew | w=z
0F 01 /0 | sgdt | Ms |
0F 01 /1 | sidt | Ms |
0F 01 /2 | lgdt | Ms | cpl0
0F 01 /3 | lidt | Ms | cpl0
0F 01 /4 | smsw | RvMw |
0F 01 /6 | lmsw | Ew | cpl0 ends
0F 01 /7 | invlpg | M | cpl0 ends
0F 01 F8 | swapgs | | cpl0 o64
@monitor
NP 0F 01 C8 | monitor | AXm |
NP 0F 01 C9 | mwait | | ends
@smap
NP 0F 01 CA | clac | | cpl0
NP 0F 01 CB | stac | | cpl0
@xsave
NP 0F 01 D0 | xgetbv | |
NP 0F 01 D1 | xsetbv | | cpl0 ends
@pku
NP 0F 01 EE | rdpkru | |
NP 0F 01 EF | wrpkru | | ends
@rdtscp
0F 01 F9 | rdtscp | |
@
0F 02 /r | lar | Gv,RvMw | w=z
0F 03 /r | lsl | Gv,RvMw | w=z
@syscall
0F 05 | syscall | | o64 ends r=oszapcdit w=oszapcdit
0F 07 | sysret | | o64 cpl0 ends w=oszapcdit
@
0F 06 | clts | | cpl0 ends
0F 08 | invd | | cpl0
0F 09 | wbinvd | | cpl0
0F 0B | ud2 | | ends
0F 20 /r | mov_cr | Rn,Cn | cpl0 u=oszapc
0F 21 /r | mov_dr | Rn,Dn | cpl0 u=oszapc
0F 22 /r | mov_cr | Cn,Rn | cpl0 ends u=oszapc
0F 23 /r | mov_dr | Dn,Rn | cpl0 ends u=oszapc
@msr
0F 30 | wrmsr | | cpl0 ends
0F 32 | rdmsr | | cpl0
@tsc
0F 31 | rdtsc | |
@
0F 33 | rdpmc | |
@sep
0F 34 | sysenter | | ends w=i
0F 35 | sysexit | | cpl0 ends
@cmov
0F 40+cc /r | cmovcc | Gv,Ev |
@
0F 80+cc | jcc | Jz | f64 ends
0F 90+cc /r | setcc | Eb |
0F A0 | push_seg | FS | d64
0F A1 | pop_seg | FS | d64 ends
0F A2 | cpuid | |
0F A3 /r | bt | Ev,Gv | w=c u=osap
0F A4 /r | shld | Ev,Gv,Ib | w=oszpc u=oa m=oszapc
0F A5 /r | shld | Ev,Gv,CL | w=oszpc u=oa m=oszapc
0F A8 | push_seg | GS | d64
0F A9 | pop_seg | GS | d64 ends
0F AB /r | bts | Ev,Gv | lock w=c u=osap
0F AC /r | shrd | Ev,Gv,Ib | w=oszpc u=oa m=oszapc
0F AD /r | shrd | Ev,Gv,CL | w=oszpc u=oa m=oszapc
0F AF /r | imul | Gv,Ev | w=oc u=szap
0F B0 /r | cmpxchg | Eb,Gb | lock w=oszapc
0F B1 /r | cmpxchg | Ev,Gv | lock w=oszapc
0F B2 /r | lss | Gv,Mp | ends
0F B3 /r | btr | Ev,Gv | lock w=c u=osap
0F B4 /r | lfs | Gv,Mp | ends
0F B5 /r | lgs | Gv,Mp | ends
0F B6 /r | movzx | Gv,Eb |
0F B7 /r | movzx | Gv,Ew |
0F B9 /r | ud1 | Gv,Ev | ends
0F BA /4 | bt | Ev,Ib | w=c u=osap
0F BA /5 | bts | Ev,Ib | lock w=c u=osap
0F BA /6 | btr | Ev,Ib | lock w=c u=osap
0F BA /7 | btc | Ev,Ib | lock w=c u=osap
0F BB /r | btc | Ev,Gv | lock w=c u=osap
@popcnt
F3 0F B8 /r | popcnt | Gv,Ev | w=oszapc
@bmi1
F3 0F BC /r | tzcnt | Gv,Ev | w=zc u=osap
@lzcnt
F3 0F BD /r | lzcnt | Gv,Ev | w=zc u=osap
@
0F BC /r | bsf | Gv,Ev | w=z u=osapc
0F BD /r | bsr | Gv,Ev | w=z u=osapc
0F BE /r | movsx | Gv,Eb |
0F BF /r | movsx | Gv,Ew |
0F C0 /r | xadd | Eb,Gb | lock w=oszapc
0F C1 /r | xadd | Ev,Gv | lock w=oszapc
0F C8+r | bswap | Zv |
0F FF /r | ud0 | Gv,Ev | ends
@sse2
NP 0F C3 /r | movnti | My,Gy |
@cx16
REX.W 0F C7 /1 | cmpxchg16b | Mdq | lock o64 w=z
@cx8
0F C7 /1 | cmpxchg8b | Mq | lock w=z
@rdrand
NFx 0F C7 /6 | rdrand | Rv | w=oszapc
@rdseed
NFx 0F C7 /7 | rdseed | Rv | w=oszapc
@rdpid
F3 0F C7 /7 | rdpid | Rn |
@xsavec
NP 0F C7 /4 | xsavec | M |
@xsaves
NP 0F C7 /3 | xrstors | M | cpl0
NP 0F C7 /5 | xsaves | M | cpl0
@fxsr
NP 0F AE /0 | fxsave | M |
NP 0F AE /1 | fxrstor | M |
@sse
NP 0F AE /2 | ldmxcsr | Md |
NP 0F AE /3 | stmxcsr | Md |
NP 0F AE F8+i | sfence | |
@sse2
NP 0F AE E8+i | lfence | |
NP 0F AE F0+i | mfence | |
@xsave
NP 0F AE /4 | xsave | M |
NP 0F AE /5 | xrstor | M |
@xsaveopt
NP 0F AE /6 | xsaveopt | M |
@clflush
NP 0F AE /7 | clflush | Mb |
@clflushopt
66 0F AE /7 | clflushopt | Mb |
@clwb
66 0F AE /6 | clwb | Mb |
@fsgsbase
F3 0F AE /0 | rdfsbase | Ry | o64
F3 0F AE /1 | rdgsbase | Ry | o64
F3 0F AE /2 | wrfsbase | Ry | o64
F3 0F AE /3 | wrgsbase | Ry | o64
@invpcid
66 0F 38 82 /r | invpcid | Gn,Mdq | cpl0 ends
@sse4_2
F2 0F 38 F0 /r | crc32 | Gy,Eb |
F2 0F 38 F1 /r | crc32 | Gy,Ev |
@movbe
NFx 0F 38 F0 /r | movbe | Gv,Mv |
NFx 0F 38 F1 /r | movbe | Mv,Gv |
@adx
66 0F 38 F6 /r | adcx | Gy,Ey | r=c w=c
F3 0F 38 F6 /r | adox | Gy,Ey | r=o w=o
`;
