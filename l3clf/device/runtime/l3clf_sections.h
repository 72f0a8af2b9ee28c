/* Where the linker puts the weights, and the code that takes the time. Define these for every file of the library, as
   attributes of your compiler that name a section of your linker script; without, they go where all constants and code
   go. From external flash the code is fast only if a cache holds it, and from the core's own memory (ITCM, CCM) it is
   fast in any case:

       -D'L3CLF_WEIGHTS_SECTION=__attribute__((section(".external_flash")))'
       -D'L3CLF_CODE_SECTION=__attribute__((section(".itcm_text")))' */
#ifndef L3CLF_SECTIONS_H
#define L3CLF_SECTIONS_H

#ifndef L3CLF_WEIGHTS_SECTION
#define L3CLF_WEIGHTS_SECTION
#endif

#ifndef L3CLF_CODE_SECTION
#define L3CLF_CODE_SECTION
#endif

#endif
