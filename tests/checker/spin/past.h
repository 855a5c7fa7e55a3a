/* What does a process know? Its place in the text and its variables; with -DPASTS, every answer.
 *
 * Without PASTS a variable that is not read any more is put back to 0 by hand, as the checker
 * forgets it. With PASTS the answers are digits of one number, as the checker has them in a tree
 * of histories. At the end of a process, and when it begins anew, all is forgotten either way.
 *
 * Every step is one d_step, which is one transition and leaves no state in between.
 */
#ifdef PASTS
#define MEMORY int past;
#define REMEMBER(answer) past = past * 8 + 1 + (answer)
#define FORGET past = 0
#else
#define MEMORY
#define REMEMBER(answer) skip
#define FORGET skip
#endif

#ifndef FAULTS
#define FAULTS 0
#endif

#define MAY_FAIL (faults < FAULTS)
byte faults;
