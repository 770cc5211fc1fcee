/*
 * A PKCS#11 module that is another module, but for the faults that it is told to have.
 *
 * Everything it knows lies beside its own file, so that no environment has to reach it:
 *
 *   real           a link to the module that does the work
 *   calls          a line for each call: process, name, handle, return value, detail, microseconds
 *   faults/NAME    what the function NAME does from now on, or NAME.once: the next time only
 *
 * A fault is a word and up to two numbers, VALUE and HANDLE; a handle that is not 0 keeps the fault
 * to calls about that slot or session:
 *
 *   hang           never return               rv VALUE      return VALUE, the real one is not asked
 *   crash          read where nothing is      sleep VALUE   wait so many milliseconds first
 *   flags VALUE    also set these token flags (C_GetTokenInfo)
 *   hide VALUE     leave this mechanism out (C_GetMechanismList)
 *   spoil          change one bit of the signature (C_Sign)
 *   empty          find no slots (C_GetSlotList)
 *
 * The detail is the user type of a login, the mechanism of C_SignInit, and for C_Sign 1 when it was
 * to sign and 0 when it was only asked for a length. A PIN is never written.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <p11-kit/pkcs11.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

static CK_FUNCTION_LIST *real;
static CK_FUNCTION_LIST ours;
static char home[PATH_MAX - 64];

struct fault {
	char word[16];
	unsigned long value;
	unsigned long handle;
};

static int read_fault(const char *path, struct fault *fault)
{
	FILE *file = fopen(path, "r");
	if (file == NULL)
		return 0;
	int found = fscanf(file, "%15s %li %li", fault->word, (long *)&fault->value, (long *)&fault->handle);
	fclose(file);
	return found >= 1;
}

/* The fault of a function for a handle; its word is empty for none. */
static struct fault fault_of(const char *name, unsigned long handle)
{
	struct fault fault = {"", 0, 0}, none = {"", 0, 0};
	char path[PATH_MAX], taken[PATH_MAX];
	snprintf(path, sizeof path, "%s/faults/%s", home, name);
	if (!read_fault(path, &fault)) {
		snprintf(path, sizeof path, "%s/faults/%s.once", home, name);
		if (!read_fault(path, &fault))
			return none;
		if (fault.handle != 0 && fault.handle != handle)
			return none;
		/* Of several processes that come at once, one has it. */
		snprintf(taken, sizeof taken, "%s/faults/.%s.%d", home, name, (int)getpid());
		if (rename(path, taken) != 0)
			return none;
		unlink(taken);
	}
	return fault.handle != 0 && fault.handle != handle ? none : fault;
}

static int is(const struct fault *fault, const char *word)
{
	return strcmp(fault->word, word) == 0;
}

/* What comes before the real call: 1 when that is not to be made, and rv is the answer. */
static int stopped(const struct fault *fault, CK_RV *rv)
{
	if (is(fault, "hang"))
		for (;;)
			pause();
	if (is(fault, "crash"))
		*(volatile int *)0 = 0;
	if (is(fault, "sleep")) {
		struct timespec wait = {fault->value / 1000, fault->value % 1000 * 1000000L};
		nanosleep(&wait, NULL);
	}
	*rv = fault->value;
	return is(fault, "rv");
}

static long now(void)
{
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	return at.tv_sec * 1000000L + at.tv_nsec / 1000;
}

static CK_RV noted(const char *name, unsigned long handle, CK_RV rv, unsigned long detail, long since)
{
	char path[PATH_MAX], line[160];
	snprintf(path, sizeof path, "%s/calls", home);
	int length = snprintf(line, sizeof line, "%d %s %lu %#lx %#lx %ld\n", (int)getpid(), name, handle,
			      rv, detail, now() - since);
	int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (file >= 0) {
		if (write(file, line, length) != length)
			rv = CKR_GENERAL_ERROR;
		close(file);
	}
	return rv;
}

/* A function that fails or waits as it is told, and otherwise is the real one. */
#define WRAPPED(NAME, HANDLE, DETAIL, PARAMETERS, ARGUMENTS)                                                   \
	static CK_RV our_##NAME PARAMETERS                                                                     \
	{                                                                                                      \
		long since = now();                                                                            \
		struct fault fault = fault_of(#NAME, HANDLE);                                                  \
		CK_RV rv;                                                                                      \
		if (!stopped(&fault, &rv))                                                                     \
			rv = real->NAME ARGUMENTS;                                                             \
		return noted(#NAME, HANDLE, rv, DETAIL, since);                                                \
	}

WRAPPED(C_Initialize, 0, 0, (CK_VOID_PTR args), (args))
WRAPPED(C_Finalize, 0, 0, (CK_VOID_PTR reserved), (reserved))
WRAPPED(C_GetInfo, 0, 0, (CK_INFO_PTR info), (info))
WRAPPED(C_GetSlotInfo, slot, 0, (CK_SLOT_ID slot, CK_SLOT_INFO_PTR info), (slot, info))
WRAPPED(C_OpenSession, slot, flags,
	(CK_SLOT_ID slot, CK_FLAGS flags, CK_VOID_PTR application, CK_NOTIFY notify, CK_SESSION_HANDLE_PTR session),
	(slot, flags, application, notify, session))
WRAPPED(C_CloseSession, session, 0, (CK_SESSION_HANDLE session), (session))
WRAPPED(C_CloseAllSessions, slot, 0, (CK_SLOT_ID slot), (slot))
WRAPPED(C_Login, session, user,
	(CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR_PTR pin, CK_ULONG length),
	(session, user, pin, length))
WRAPPED(C_Logout, session, 0, (CK_SESSION_HANDLE session), (session))
WRAPPED(C_FindObjectsInit, session, 0, (CK_SESSION_HANDLE session, CK_ATTRIBUTE_PTR template, CK_ULONG count),
	(session, template, count))
WRAPPED(C_FindObjects, session, 0,
	(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE_PTR objects, CK_ULONG most, CK_ULONG_PTR count),
	(session, objects, most, count))
WRAPPED(C_GetAttributeValue, session, 0,
	(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_PTR template, CK_ULONG count),
	(session, object, template, count))
WRAPPED(C_SignInit, session, mechanism->mechanism,
	(CK_SESSION_HANDLE session, CK_MECHANISM_PTR mechanism, CK_OBJECT_HANDLE key), (session, mechanism, key))

static CK_RV our_C_GetSlotList(CK_BBOOL present, CK_SLOT_ID_PTR slots, CK_ULONG_PTR count)
{
	long since = now();
	struct fault fault = fault_of("C_GetSlotList", 0);
	CK_RV rv;
	if (!stopped(&fault, &rv))
		rv = real->C_GetSlotList(present, slots, count);
	if (rv == CKR_OK && is(&fault, "empty"))
		*count = 0;
	return noted("C_GetSlotList", 0, rv, present, since);
}

static CK_RV our_C_GetTokenInfo(CK_SLOT_ID slot, CK_TOKEN_INFO_PTR info)
{
	long since = now();
	struct fault fault = fault_of("C_GetTokenInfo", slot);
	CK_RV rv;
	if (!stopped(&fault, &rv))
		rv = real->C_GetTokenInfo(slot, info);
	if (rv == CKR_OK && is(&fault, "flags"))
		info->flags |= fault.value;
	return noted("C_GetTokenInfo", slot, rv, 0, since);
}

static CK_RV our_C_GetMechanismList(CK_SLOT_ID slot, CK_MECHANISM_TYPE_PTR list, CK_ULONG_PTR count)
{
	long since = now();
	struct fault fault = fault_of("C_GetMechanismList", slot);
	CK_RV rv;
	if (!stopped(&fault, &rv))
		rv = real->C_GetMechanismList(slot, list, count);
	if (rv == CKR_OK && list != NULL && is(&fault, "hide")) {
		CK_ULONG kept = 0;
		for (CK_ULONG each = 0; each < *count; each++)
			if (list[each] != fault.value)
				list[kept++] = list[each];
		*count = kept;
	}
	return noted("C_GetMechanismList", slot, rv, 0, since);
}

static CK_RV our_C_Sign(CK_SESSION_HANDLE session, CK_BYTE_PTR data, CK_ULONG length, CK_BYTE_PTR signature,
			CK_ULONG_PTR signature_length)
{
	/* Without room for it, this only asks how long the signature would be: no fault of ours. */
	long since = now();
	struct fault none = {"", 0, 0};
	struct fault fault = signature == NULL ? none : fault_of("C_Sign", session);
	CK_RV rv;
	if (!stopped(&fault, &rv))
		rv = real->C_Sign(session, data, length, signature, signature_length);
	if (rv == CKR_OK && is(&fault, "spoil"))
		signature[*signature_length - 1] ^= 1;
	return noted("C_Sign", session, rv, signature != NULL, since);
}

static void find_home(void)
{
	Dl_info self;
	if (dladdr((void *)find_home, &self) == 0)
		return;
	snprintf(home, sizeof home, "%s", self.dli_fname);
	char *slash = strrchr(home, '/');
	if (slash != NULL)
		*slash = '\0';
}

static CK_RV load(void)
{
	char path[PATH_MAX];
	find_home();
	snprintf(path, sizeof path, "%s/real", home);
	/* By its own name: modules find their neighbours and settings by it. */
	char *target = realpath(path, NULL);
	void *library = dlopen(target != NULL ? target : path, RTLD_NOW | RTLD_LOCAL);
	CK_C_GetFunctionList list = library ? (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList") : NULL;
	return list == NULL ? CKR_LIBRARY_LOAD_FAILED : list(&real);
}

EXPORTED CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list)
{
	if (real == NULL) {
		CK_RV rv = load();
		if (rv != CKR_OK)
			return rv;
		ours = *real;
#define OURS(NAME) ours.NAME = our_##NAME
		ours.C_GetFunctionList = C_GetFunctionList;
		OURS(C_Initialize); OURS(C_Finalize); OURS(C_GetInfo);
		OURS(C_GetSlotList); OURS(C_GetSlotInfo); OURS(C_GetTokenInfo); OURS(C_GetMechanismList);
		OURS(C_OpenSession); OURS(C_CloseSession); OURS(C_CloseAllSessions); OURS(C_Login); OURS(C_Logout);
		OURS(C_FindObjectsInit); OURS(C_FindObjects); OURS(C_GetAttributeValue);
		OURS(C_SignInit); OURS(C_Sign);
	}
	*list = &ours;
	return CKR_OK;
}
