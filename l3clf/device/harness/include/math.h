/* For the emulated chip: its compiler comes with the functions but without headers. */
#ifndef MATH_H
#define MATH_H
#define INFINITY __builtin_inff()
float expf(float x);
#endif
