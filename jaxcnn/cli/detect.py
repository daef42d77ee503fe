"""Trains, uses and measures R-CNN: objects in images, found by classifying regions; needs the extra detection.

    jaxcnn detect train RUN_FOLDER --data.name coco:FOLDER [--workdir DETECTOR] [--OPTION VALUE ...]
    jaxcnn detect train MODEL --weights SOURCE --data.name voc:FOLDER [--workdir DETECTOR] [--OPTION VALUE ...]
    jaxcnn detect run DETECTOR IMAGE... --out FOLDER        answers as JSON, and pictures with boxes
    jaxcnn detect evaluate DETECTOR [--split SPLIT]         average precision by VOC's protocols and by COCO's
    jaxcnn detect evaluate DETECTOR --method sliding        the same of the tuned network as a sliding window
    jaxcnn detect recall DETECTOR [--plot FILE]             how many objects the proposals hold

The exit code is 0; 2 where the command asks for something impossible, which one sentence names; 74 where the disk is
full, or fails; 75 where SIGTERM or SIGINT has stopped it with everything saved, after which the same command goes on.
"""
