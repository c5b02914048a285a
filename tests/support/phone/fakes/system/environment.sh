# fake: the environment that Android 13's init gives to services and root shells (sourced).
# shellcheck shell=sh
export PATH=/product/bin:/apex/com.android.runtime/bin:/apex/com.android.art/bin:/system_ext/bin:/system/bin:/system/xbin:/odm/bin:/vendor/bin:/vendor/xbin
export ANDROID_BOOTLOGO=1 ANDROID_ROOT=/system ANDROID_ASSETS=/system/app ANDROID_DATA=/data ANDROID_STORAGE=/storage
export ANDROID_ART_ROOT=/apex/com.android.art ANDROID_I18N_ROOT=/apex/com.android.i18n ANDROID_TZDATA_ROOT=/apex/com.android.tzdata
export EXTERNAL_STORAGE=/sdcard ASEC_MOUNTPOINT=/mnt/asec DOWNLOAD_CACHE=/data/cache
export BOOTCLASSPATH=/apex/com.android.art/javalib/core-oj.jar SYSTEMSERVERCLASSPATH=/system/framework/services.jar
