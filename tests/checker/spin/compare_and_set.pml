/* Customers who write only if no other has meanwhile, and otherwise read again. */
#include "past.h"

#ifndef BUYERS
#define BUYERS 3
#endif
#define CHECK assert(stock + sold <= BUYERS && turned_away == 0)

byte stock = BUYERS;
byte sold;
byte turned_away;

active [BUYERS] proctype buyer() {
    byte at, seen, tries;
    MEMORY
end:
    do
    :: d_step { at == 0 -> seen = stock; tries++; at = 1; REMEMBER(seen) }
    :: d_step { at == 1 && stock == seen ->
            stock = seen - 1; seen = 0; tries = 0; at = 2; REMEMBER(1); CHECK }
    :: d_step { at == 1 && stock != seen && tries < BUYERS -> seen = 0; at = 0; REMEMBER(0) }
    :: d_step { at == 1 && stock != seen && tries == BUYERS ->
            seen = 0; tries = 0; at = 3; REMEMBER(0) }
    :: d_step { at == 2 -> sold++; at = 4; FORGET; CHECK }
    :: d_step { at == 3 -> turned_away++; at = 4; FORGET; CHECK }
    od
}
