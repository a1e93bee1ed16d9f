/* SoftHSM as a device that asks others before it signs: the first answers to C_Sign, as many as PENDING says, are CKR_PENDING,
   or CKR_FUNCTION_REJECTED where PENDING is "never". REAL is the module that does all else. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long answer;
typedef answer (*sign_function)(answer, void *, answer, void *, answer *);
/* PKCS #11, "CK_FUNCTION_LIST": a version and 68 functions, of which C_Sign is the 44th. */
struct functions {
    answer version;
    void *function[68];
};
enum { SIGN = 43, PENDING = 0x204, REJECTED = 0x200, FAILED = 5 };

static struct functions ours;
static sign_function real_sign;
static int answered;

static answer sign(answer session, void *data, answer length, void *signature, answer *room) {
    const char *pending = getenv("PENDING");
    int is_rejected = pending && !strcmp(pending, "never");
    if (is_rejected || answered < (pending ? atoi(pending) : 0)) {
        /* The operation ends with any answer but its own. */
        char nowhere[4096];
        answer size = sizeof nowhere;
        real_sign(session, data, length, nowhere, &size);
        answered++;
        return is_rejected ? REJECTED : PENDING;
    }
    return real_sign(session, data, length, signature, room);
}

answer C_GetFunctionList(void **list) {
    void *module = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
    answer (*real)(void **) = module ? (answer(*)(void **))dlsym(module, "C_GetFunctionList") : 0;
    void *theirs;
    if (!real || real(&theirs)) return FAILED;
    memcpy(&ours, theirs, sizeof ours);
    real_sign = (sign_function)ours.function[SIGN];
    ours.function[SIGN] = (void *)sign;
    *list = &ours;
    return 0;
}
