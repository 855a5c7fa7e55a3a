/* Customers who each read the stock and write what it should be then. */
#include "past.h"

#ifndef BUYERS
#define BUYERS 3
#endif
#define CHECK assert(stock + sold <= BUYERS)

byte stock = BUYERS;
byte sold;

active [BUYERS] proctype buyer() {
    byte seen;
    MEMORY
    d_step { seen = stock; REMEMBER(seen) };
    d_step { stock = seen - 1; seen = 0; REMEMBER(0); CHECK };
    d_step { sold++; FORGET; CHECK };
end:
    false
}
