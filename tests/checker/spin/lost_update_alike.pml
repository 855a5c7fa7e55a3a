/* The same, and the customers are interchangeable: after each step the customers stand in order.
 *
 * A customer is one number: its place times 8, and what it has seen. Of several who are alike only
 * the first takes a step, because the others' would be the same one.
 */
#include "past.h"

#define CHECK assert(stock + sold <= 3)
#define FIRST(i) (i == 0 || who[i] != who[i - 1])
#define SWAP(i, j) if :: who[i] > who[j] -> who[i] = who[i] + who[j]; who[j] = who[i] - who[j]; who[i] = who[i] - who[j] :: else fi
#define SORT SWAP(0, 1); SWAP(1, 2); SWAP(0, 1)

byte stock = 3;
byte sold;
byte who[3];

inline step(i) {
    if
    :: d_step { who[i] == 0 && FIRST(i) -> who[i] = 8 + stock; SORT }
    :: d_step { who[i] / 8 == 1 && FIRST(i) -> stock = who[i] % 8 - 1; who[i] = 16; CHECK; SORT }
    :: d_step { who[i] / 8 == 2 && FIRST(i) -> sold++; who[i] = 24; CHECK; SORT }
    fi
}

active proctype buyers() {
end:
    do
    :: step(0)
    :: step(1)
    :: step(2)
    od
}
